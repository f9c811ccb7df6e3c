//! Functions of texts, and of lists that share their names. Entry point: [`register`].
//!
//! The interpreter's own count bytes where CEL counts characters, take time in the square of what they search, or make texts
//! without a bound.

use std::sync::Arc;

use kube_cel::cel::{
    Context, ExecutionError, Value,
    extractors::{Arguments, This},
};

type Made = Result<Value, ExecutionError>;

/// Most bytes of a text that a function makes.
const TEXT_BYTES_MAX: usize = 16 << 20;

pub(crate) fn register(context: &mut Context<'_>) {
    context.add_function("size", |this: This<Value>| size(&this.0));
    context.add_function("replace", replace);
    context.add_function("join", join);
    context.add_function("split", split);
    context.add_function("indexOf", |this: This<Value>, args: Arguments| index_of(&this.0, &args.0));
    context.add_function("lastIndexOf", |this: This<Value>, args: Arguments| last_index_of(&this.0, &args.0));
}

fn size(of: &Value) -> Made {
    let size = match of {
        Value::String(text) => characters(text),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.map.len(),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    number(size)
}

/// Characters of a text.
pub(crate) fn characters(text: &str) -> usize {
    text.chars().count()
}

fn number(it: usize) -> Made {
    i64::try_from(it).map(Value::Int).map_err(|_| ExecutionError::NoSuchOverload)
}

fn text(it: &str) -> Value {
    Value::String(Arc::new(it.to_owned()))
}

/// `text.replace(from, to)`, and with the most replacements as a third argument.
fn replace(This(text): This<Arc<String>>, Arguments(args): Arguments) -> Made {
    let (from, to, most) = match args.as_slice() {
        [Value::String(from), Value::String(to)] => (from, to, usize::MAX),
        // Below zero means all.
        [Value::String(from), Value::String(to), Value::Int(most)] => {
            (from, to, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let count = text.matches(from.as_str()).take(most).count();
    if text.len().saturating_add(count.saturating_mul(to.len())) > TEXT_BYTES_MAX {
        return Err(too_long("replace"));
    }
    Ok(Value::String(Arc::new(text.replacen(from.as_str(), to, count))))
}

fn join(This(list): This<Arc<Vec<Value>>>, Arguments(args): Arguments) -> Made {
    let separator = match args.as_slice() {
        [] => "",
        [Value::String(separator)] => separator.as_str(),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let mut joined = String::new();
    for (i, item) in list.iter().enumerate() {
        let Value::String(item) = item else { return Err(ExecutionError::NoSuchOverload) };
        if joined.len() + separator.len() + item.len() > TEXT_BYTES_MAX {
            return Err(too_long("join"));
        }
        joined.push_str(if i == 0 { "" } else { separator });
        joined.push_str(item);
    }
    Ok(Value::String(Arc::new(joined)))
}

/// `text.split(separator)`, and with the most parts as a second argument. Nothing separates characters.
fn split(This(of): This<Arc<String>>, Arguments(args): Arguments) -> Made {
    let (separator, most) = match args.as_slice() {
        [Value::String(separator)] => (separator.as_str(), usize::MAX),
        // Below zero means all.
        [Value::String(separator), Value::Int(most)] => {
            (separator.as_str(), usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let parts: Vec<Value> = match separator {
        "" => {
            let mut rest = of.as_str();
            let mut parts = Vec::new();
            while let Some(first) = rest.chars().next().filter(|_| parts.len() < most) {
                let end = if parts.len() + 1 == most { rest.len() } else { first.len_utf8() };
                parts.push(text(&rest[..end]));
                rest = &rest[end..];
            }
            parts
        }
        separator => of.splitn(most, separator).map(text).collect(),
    };
    Ok(Value::List(Arc::new(parts)))
}

/// `text.indexOf(part)`, from a character on with a second argument; `list.indexOf(item)`.
fn index_of(of: &Value, args: &[Value]) -> Made {
    let (text, part, from) = match (of, args) {
        (Value::List(items), [item]) => return found(items.iter().position(|it| it == item)),
        (Value::String(text), [Value::String(part)]) => (text, part, 0),
        (Value::String(text), [Value::String(part), Value::Int(from)]) => (text, part, place(*from)?),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    if part.is_empty() {
        return number(from);
    }
    let Some(start) = text.char_indices().nth(from).map(|it| it.0) else { return found(None) };
    let at = text[start..].find(part.as_str());
    found(at.map(|at| from + characters(&text[start..start + at])))
}

/// `text.lastIndexOf(part)`, up to a character with a second argument; `list.lastIndexOf(item)`.
fn last_index_of(of: &Value, args: &[Value]) -> Made {
    let (text, part, to) = match (of, args) {
        (Value::List(items), [item]) => return found(items.iter().rposition(|it| it == item)),
        (Value::String(text), [Value::String(part)]) => (text, part, None),
        (Value::String(text), [Value::String(part), Value::Int(to)]) => (text, part, Some(place(*to)?)),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    if part.is_empty() {
        return number(to.unwrap_or_else(|| characters(text)));
    }
    let mut end = text.len();
    if let Some(to) = to {
        // It begins there at the latest.
        let Some((start, _)) = text.char_indices().nth(to) else { return found(None) };
        end = end.min(start.saturating_add(part.len()));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
    }
    found(text[..end].rfind(part.as_str()).map(|at| characters(&text[..at])))
}

fn place(it: i64) -> Result<usize, ExecutionError> {
    usize::try_from(it).map_err(|_| ExecutionError::function_error("indexOf", format!("index out of range: {it}")))
}

/// A place, -1 where there is none.
fn found(at: Option<usize>) -> Made {
    at.map_or(Ok(Value::Int(-1)), number)
}

fn too_long(function: &str) -> ExecutionError {
    ExecutionError::function_error(function, format!("the text would have more than {TEXT_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use crate::{Budget, Program, Value, convert};

    fn run(text: &str, this: &serde_json::Value) -> Value {
        let program = Program::compile(text, &["self"]).unwrap_or_else(|it| panic!("{text}: {it}"));
        let found = program.run(&[("self", &convert::json(this))], 64, &mut Budget::new(Budget::WRITE));
        found.unwrap_or_else(|it| panic!("{text}: {it}"))
    }

    #[test]
    fn texts_are_counted_and_searched_by_characters() {
        for text in [
            "size('äöü') == 3 && 'äöü'.size() == 3 && size(b'abc') == 3 && size([1, 2]) == 2 && size({'a': 1}) == 1",
            "'äöäö'.indexOf('ö') == 1 && 'äöäö'.indexOf('ö', 2) == 3 && 'ab'.indexOf('c') == -1 && 'ab'.indexOf('', 1) == 1",
            "'äöäö'.lastIndexOf('ä') == 2 && 'äöäö'.lastIndexOf('ä', 1) == 0 && 'aaa'.lastIndexOf('aa', 1) == 1",
            "'äb'.lastIndexOf('bä', 1) == -1 && 'äb'.lastIndexOf('') == 2 && 'ab'.indexOf('a', 7) == -1 && ''.lastIndexOf('a') == -1",
            "[1, 2, 1.0].indexOf(1) == 0 && [1, 2, 1.0].lastIndexOf(1) == 2 && ['a'].indexOf('b') == -1",
            "'äbc'.split('') == ['ä', 'b', 'c'] && 'äbc'.split('', 2) == ['ä', 'bc'] && ''.split('') == []",
            "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'a,b'.split(',', 0) == []",
            "'a,b'.split(',', -1) == ['a', 'b'] && ''.split(',') == [''] && 'ab'.replace('', '-') == '-a-b-'",
        ] {
            assert_eq!(run(text, &json!(null)), Value::Bool(true), "{text}");
        }
    }

    #[test]
    fn a_search_takes_no_longer_than_what_it_searches() {
        let this = json!({"text": format!("{}b", "a".repeat(400_000)), "part": format!("{}c", "a".repeat(200_000))});
        let start = Instant::now();
        assert_eq!(run("self.text.indexOf(self.part) + self.text.lastIndexOf(self.part)", &this), Value::Int(-2));
        // Far less in fact; in the square of the texts it would be minutes.
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}
