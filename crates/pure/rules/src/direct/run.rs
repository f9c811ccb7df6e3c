//! Evaluates a plan. Entry point: [`Run::plan`].
//!
//! Whatever the interpreter would fail at, or decide in a way of its own, ends the evaluation with [`Undecided`]: then the
//! interpreter evaluates the expression, and its answer and its words count.

use std::{cmp::Ordering, sync::Arc};

use super::{
    item::Item,
    plan::{Arith, Fold, Method, Node, Plan, Relation},
};
use crate::{budget, numbers::whole, regexes, strings::characters};

/// The interpreter has to decide.
#[derive(Debug)]
pub(crate) struct Undecided;

type Found = Result<Item, Undecided>;

/// Where an evaluation finds what it names.
pub(crate) trait Surroundings {
    /// What lies at the end of a way.
    fn get(&self, way: &super::way::Way) -> Option<Item>;
    /// Whether a way leads somewhere.
    fn has(&self, way: &super::way::Way) -> Option<bool>;
    /// A variable of the policy.
    fn variable(&self, at: usize, name: &str) -> Option<Item>;
    /// A value that is no object.
    fn given(&self, name: &str) -> Option<Item>;
}

/// One evaluation.
pub(crate) struct Run<'s, S> {
    surroundings: &'s S,
    locals: Vec<Item>,
}

impl<'s, S: Surroundings> Run<'s, S> {
    /// Evaluates a plan.
    pub(crate) fn plan(plan: &Plan, surroundings: &'s S) -> Found {
        let locals = vec![Item::Null; plan.locals];
        Run { surroundings, locals }.node(&plan.node)
    }

    fn node(&mut self, node: &Node) -> Found {
        Ok(match node {
            Node::Const(it) => it.clone(),
            Node::Local(at) => self.locals[*at].clone(),
            Node::Given(name) => self.surroundings.given(name).ok_or(Undecided)?,
            Node::Get(way) => self.surroundings.get(way).ok_or(Undecided)?,
            Node::Has(way) => Item::Bool(self.surroundings.has(way).ok_or(Undecided)?),
            Node::Variable(at, name) => self.surroundings.variable(*at, name).ok_or(Undecided)?,
            Node::And(both) => Item::Bool(self.flag(&both[0])? && self.flag(&both[1])?),
            Node::Or(both) => Item::Bool(self.flag(&both[0])? || self.flag(&both[1])?),
            Node::Not(it) => Item::Bool(!self.flag(it)?),
            Node::NotFalse(it) => Item::Bool(!matches!(self.node(it)?, Item::Bool(false))),
            Node::If(parts) => return if self.flag(&parts[0])? { self.node(&parts[1]) } else { self.node(&parts[2]) },
            Node::Equal(both, wanted) => {
                let (a, b) = self.both(both)?;
                Item::Bool(a.equals(&b).ok_or(Undecided)? == *wanted)
            }
            Node::Order(both, relation) => {
                let (a, b) = self.both(both)?;
                let order = a.compare(&b).ok_or(Undecided)?;
                Item::Bool(match relation {
                    Relation::Less => order == Ordering::Less,
                    Relation::LessEqual => order != Ordering::Greater,
                    Relation::Greater => order == Ordering::Greater,
                    Relation::GreaterEqual => order != Ordering::Less,
                })
            }
            Node::In(both) => {
                let (a, b) = self.both(both)?;
                Item::Bool(contains(&b, &a).ok_or(Undecided)?)
            }
            Node::Arith(both, operation) => {
                let (a, b) = self.both(both)?;
                arith(*operation, a, b).ok_or(Undecided)?
            }
            Node::Negative(it) => match self.node(it)? {
                Item::Int(it) => Item::Int(it.checked_neg().ok_or(Undecided)?),
                Item::Float(it) => Item::Float(-it),
                _ => return Err(Undecided),
            },
            Node::Index(both) => {
                let of = self.node(&both[0])?;
                // The interpreter asks for the key of nothing else.
                if !matches!(of, Item::List(_) | Item::Map(_)) {
                    return Err(Undecided);
                }
                index(&of, &self.node(&both[1])?).ok_or(Undecided)?
            }
            Node::Test(of, field) => match self.node(of)? {
                Item::Map(fields) => Item::Bool(Item::field(&fields, field).is_some()),
                other => no_fields(&other)?,
            },
            Node::OptSelect(both) => {
                let (of, key) = self.both(both)?;
                optional_field(of, &key).ok_or(Undecided)?
            }
            Node::List(items) => self.list(items)?,
            Node::Map(entries) => self.map(entries)?,
            Node::Fold(fold) => return self.fold(fold),
            Node::Append(at, items, cost) => return self.append(*at, items, *cost),
            Node::Grown(it) => {
                let made = self.node(it)?;
                if made.grows() {
                    budget::charge_made(|room| made.take(room)).map_err(|_| Undecided)?;
                }
                made
            }
            Node::Charge(nodes) => paid(budget::charge(*nodes))?,
            Node::ChargeSquare => paid(budget::charge_square())?,
            Node::Box(it) => Item::Boxed(Arc::new(self.node(it)?)),
            Node::Unbox(it) => match self.node(it)? {
                Item::Boxed(it) => Item::clone(&it),
                _ => return Err(Undecided),
            },
            Node::Method(method, target, arg) => {
                let target = self.node(target)?;
                let arg = arg.as_ref().map(|it| self.node(it)).transpose()?;
                call(*method, target, arg).ok_or(Undecided)?
            }
            Node::Matches(of, pattern) => {
                let Item::Text(text) = self.node(of)? else { return Err(Undecided) };
                let compiled = pattern.compiled.get_or_init(|| regexes::build(&pattern.text).ok());
                Item::Bool(compiled.as_ref().ok_or(Undecided)?.is_match(&text))
            }
            Node::Call(call) => {
                let values = call.parts.iter().map(|it| self.node(it)).collect::<Result<Vec<_>, _>>()?;
                call.make(&values).ok_or(Undecided)?
            }
        })
    }

    fn both(&mut self, nodes: &[Node; 2]) -> Result<(Item, Item), Undecided> {
        Ok((self.node(&nodes[0])?, self.node(&nodes[1])?))
    }

    fn flag(&mut self, node: &Node) -> Result<bool, Undecided> {
        match self.node(node)? {
            Item::Bool(it) => Ok(it),
            _ => Err(Undecided),
        }
    }

    /// A value that goes into a variable or a collection.
    fn kept(&mut self, node: &Node) -> Found {
        let item = self.node(node)?;
        if item.copies() { Ok(item) } else { Err(Undecided) }
    }

    fn list(&mut self, items: &[(Node, bool)]) -> Found {
        let mut made = Vec::with_capacity(items.len());
        for (node, may_lack) in items {
            match self.node(node)? {
                Item::Optional(None) if *may_lack => {}
                Item::Optional(Some(it)) if *may_lack && it.copies() => made.push(Item::clone(&it)),
                Item::Optional(_) | Item::Boxed(_) => return Err(Undecided),
                it => made.push(it),
            }
        }
        Ok(Item::List(Arc::new(made)))
    }

    fn map(&mut self, entries: &[(Node, Node, bool)]) -> Found {
        let mut made = Vec::with_capacity(entries.len());
        for (key, value, may_lack) in entries {
            let Item::Text(key) = self.node(key)? else { return Err(Undecided) };
            match self.node(value)? {
                Item::Optional(None) if *may_lack => {}
                Item::Optional(Some(it)) if *may_lack && it.copies() => made.push((key, Item::clone(&it))),
                Item::Optional(_) | Item::Boxed(_) => return Err(Undecided),
                it => made.push((key, it)),
            }
        }
        Ok(Item::map(made))
    }

    fn fold(&mut self, fold: &Fold) -> Found {
        let initial = self.kept(&fold.initial)?;
        match self.node(&fold.range)? {
            Item::List(items) => {
                self.locals[fold.at] = initial;
                for item in items.iter() {
                    if !self.round(fold, || item.clone())? {
                        break;
                    }
                }
            }
            Item::Map(fields) => {
                self.locals[fold.at] = initial;
                for (name, _) in fields.iter() {
                    if !self.round(fold, || Item::Text(name.clone()))? {
                        break;
                    }
                }
            }
            _ => return Err(Undecided),
        }
        self.node(&fold.result)
    }

    /// One round; says whether there was one.
    fn round(&mut self, fold: &Fold, item: impl FnOnce() -> Item) -> Result<bool, Undecided> {
        if !self.flag(&fold.condition)? {
            return Ok(false);
        }
        self.locals[fold.at + 1] = item();
        self.locals[fold.at] = self.kept(&fold.step)?;
        Ok(true)
    }

    fn append(&mut self, at: usize, items: &[Node], cost: bool) -> Found {
        let items = items.iter().map(|it| self.kept(it)).collect::<Result<Vec<_>, _>>()?;
        if cost {
            let take = |room: &mut usize| {
                budget::take(room, 0)?;
                items.iter().try_for_each(|it| it.take(room))
            };
            budget::charge_made(take).map_err(|_| Undecided)?;
        }
        let Item::List(mut list) = std::mem::replace(&mut self.locals[at], Item::Null) else { return Err(Undecided) };
        Arc::make_mut(&mut list).extend(items);
        Ok(Item::List(list))
    }
}

fn paid(is_paid: bool) -> Found {
    if is_paid { Ok(Item::Bool(true)) } else { Err(Undecided) }
}

/// What the interpreter says to the test for a field of what has none: false.
fn no_fields(of: &Item) -> Found {
    match of {
        Item::Optional(_) | Item::Boxed(_) | Item::Other(_) => Err(Undecided),
        _ => Ok(Item::Bool(false)),
    }
}

fn contains(of: &Item, wanted: &Item) -> Option<bool> {
    match (of, wanted) {
        (Item::Map(fields), Item::Text(name)) => Some(Item::field(fields, name).is_some()),
        (Item::Map(_), Item::Int(_) | Item::UInt(_) | Item::Bool(_)) => Some(false),
        (Item::List(items), _) => {
            for item in items.iter() {
                if item.equals(wanted)? {
                    return Some(true);
                }
            }
            Some(false)
        }
        _ => None,
    }
}

fn index(of: &Item, key: &Item) -> Option<Item> {
    match (of, key) {
        (Item::Map(fields), Item::Text(name)) => Item::field(fields, name).cloned(),
        (Item::List(items), Item::Int(at)) => items.get(usize::try_from(*at).ok()?).cloned(),
        (Item::List(items), Item::UInt(at)) => items.get(usize::try_from(*at).ok()?).cloned(),
        (Item::List(items), Item::Float(at)) => items.get(usize::try_from(whole(*at)?).ok()?).cloned(),
        _ => None,
    }
}

fn optional_field(of: Item, key: &Item) -> Option<Item> {
    let of = match of {
        Item::Optional(None) => return Some(Item::Optional(None)),
        Item::Optional(Some(it)) => Item::clone(&it),
        it => it,
    };
    let found = match (&of, key) {
        (Item::Null, _) => None,
        (Item::Map(fields), Item::Text(name)) => Item::field(fields, name).cloned(),
        (Item::List(items), Item::Int(at)) => usize::try_from(*at).ok().and_then(|at| items.get(at).cloned()),
        // Numbers of other types are left to the interpreter.
        _ => return None,
    };
    Some(Item::Optional(found.map(Arc::new)))
}

fn arith(operation: Arith, a: Item, b: Item) -> Option<Item> {
    Some(match (a, b) {
        (Item::Int(a), Item::Int(b)) => Item::Int(match operation {
            Arith::Add => a.checked_add(b)?,
            Arith::Subtract => a.checked_sub(b)?,
            Arith::Multiply => a.checked_mul(b)?,
            Arith::Divide => a.checked_div(b)?,
            Arith::Modulo => a.checked_rem(b)?,
        }),
        (Item::Float(a), Item::Float(b)) => Item::Float(match operation {
            Arith::Add => a + b,
            Arith::Subtract => a - b,
            Arith::Multiply => a * b,
            Arith::Divide => a / b,
            Arith::Modulo => return None,
        }),
        (Item::Text(a), Item::Text(b)) if matches!(operation, Arith::Add) => {
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(&a);
            text.push_str(&b);
            Item::Text(text.into())
        }
        (Item::List(mut a), Item::List(b)) if matches!(operation, Arith::Add) => {
            Arc::make_mut(&mut a).extend(b.iter().cloned());
            Item::List(a)
        }
        _ => return None,
    })
}

fn call(method: Method, target: Item, arg: Option<Item>) -> Option<Item> {
    Some(match (method, target, arg) {
        (Method::StartsWith, Item::Text(text), Some(Item::Text(part))) => Item::Bool(text.starts_with(&*part)),
        (Method::EndsWith, Item::Text(text), Some(Item::Text(part))) => Item::Bool(text.ends_with(&*part)),
        (Method::Contains, Item::Text(text), Some(Item::Text(part))) => Item::Bool(text.contains(&*part)),
        (Method::Size, Item::Text(text), None) => Item::Int(i64::try_from(characters(&text)).ok()?),
        (Method::Size, Item::List(items), None) => Item::Int(i64::try_from(items.len()).ok()?),
        (Method::Size, Item::Map(fields), None) => Item::Int(i64::try_from(fields.len()).ok()?),
        (Method::String, Item::Text(text), None) => Item::Text(text),
        (Method::String, Item::Int(it), None) => Item::Text(it.to_string().into()),
        (Method::String, Item::UInt(it), None) => Item::Text(it.to_string().into()),
        (Method::Optional, it, None) if it.copies() && !matches!(it, Item::Boxed(_)) => {
            Item::Optional(Some(Arc::new(it)))
        }
        (Method::HasValue, Item::Optional(it), None) => Item::Bool(it.is_some()),
        (Method::Value, Item::Optional(Some(it)), None) => Item::clone(&it),
        (Method::OrValue, Item::Optional(it), Some(other)) => it.map_or(other, |it| Item::clone(&it)),
        (Method::Or, Item::Optional(it), Some(Item::Optional(other))) => Item::Optional(it.or(other)),
        _ => return None,
    })
}
