//! Makes a tree of tokens, by precedence.

use serde_json::Value;

use super::{
    DEPTH_MAX, OPERATORS_MAX, SyntaxError,
    functions::{self, Function},
    lexer::{self, Token, error},
};

#[derive(Clone, Debug)]
pub(super) enum Node {
    Current,
    Literal(Value),
    Field(String),
    Index(i64),
    Slice([Option<i64>; 3]),
    /// `left.right`, `left[0]`
    Sub(Box<Node>, Box<Node>),
    Pipe(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Flatten(Box<Node>),
    /// Each element of a list, then what follows.
    Project(Box<Node>, Box<Node>),
    /// Each value of a map, then what follows.
    Values(Box<Node>, Box<Node>),
    /// Elements that pass a test, then what follows.
    Filter {
        of: Box<Node>,
        test: Box<Node>,
        then: Box<Node>,
    },
    List(Vec<Node>),
    Hash(Vec<(String, Node)>),
    Call(&'static Function, Vec<Node>),
    /// `&expression`
    Reference(Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut parser = Parser { tokens: lexer::tokens(text)?, at: 0, depth: 0, operators: 0 };
    let node = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(node),
        other => Err(parser.unexpected(&other.clone())),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
    operators: usize,
}

const PIPE: u8 = 1;
const OR: u8 = 2;
const AND: u8 = 3;
const COMPARE: u8 = 5;
const FLATTEN: u8 = 9;
const STAR: u8 = 20;
const FILTER: u8 = 21;
const DOT: u8 = 40;
const NOT: u8 = 45;

fn power(token: &Token) -> u8 {
    match token {
        Token::Mark(mark) => match *mark {
            "|" => PIPE,
            "||" => OR,
            "&&" => AND,
            "==" | "!=" | ">" | ">=" | "<" | "<=" => COMPARE,
            "[]" => FLATTEN,
            "[?" => FILTER,
            "." => DOT,
            "{" => 50,
            "[" => 55,
            "(" => 60,
            _ => 0,
        },
        _ => 0,
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn peek_next(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn position(&self) -> usize {
        self.tokens[self.at].1
    }

    fn is(&self, mark: &str) -> bool {
        matches!(self.peek(), Token::Mark(it) if *it == mark)
    }

    fn expect(&mut self, mark: &'static str) -> Result<(), SyntaxError> {
        if !self.is(mark) {
            return Err(error(format!("Expected {mark:?}, received: {}", show(self.peek())), self.position()));
        }
        self.next();
        Ok(())
    }

    fn unexpected(&self, token: &Token) -> SyntaxError {
        let position = self.position();
        match token {
            Token::End => error("Incomplete expression", position),
            other => error(format!("Unexpected token: {}", show(other)), position),
        }
    }

    fn expression(&mut self, bound: u8) -> Result<Node, SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(error("the expression nests too deep", self.position()));
        }
        let mut left = self.prefix()?;
        while bound < power(self.peek()) {
            self.operators += 1;
            if self.operators > OPERATORS_MAX {
                return Err(error(format!("the expression has more than {OPERATORS_MAX} operators"), self.position()));
            }
            left = self.infix(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn prefix(&mut self) -> Result<Node, SyntaxError> {
        let position = self.position();
        match self.next() {
            Token::Literal(value) => Ok(Node::Literal(value)),
            Token::Quoted(_) if self.is("(") => Err(error("a function's name takes no quotes", position)),
            Token::Quoted(name) => Ok(Node::Field(name)),
            Token::Name(name) if self.is("(") => self.call(&name, position),
            Token::Name(name) => Ok(Node::Field(name)),
            Token::Mark("*") => {
                let right = if self.is("]") { Node::Current } else { self.projected(STAR)? };
                Ok(Node::Values(Box::new(Node::Current), Box::new(right)))
            }
            Token::Mark("[?") => self.filter(Node::Current),
            Token::Mark("{") => self.hash(),
            Token::Mark("[]") => self.flatten(Node::Current),
            Token::Mark("[") => self.bracket(None),
            Token::Mark("@") => Ok(Node::Current),
            Token::Mark("&") => Ok(Node::Reference(Box::new(self.expression(0)?))),
            Token::Mark("!") => Ok(Node::Not(Box::new(self.expression(NOT)?))),
            Token::Mark("(") => {
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            other => {
                self.at = self.at.saturating_sub(1);
                Err(self.unexpected(&other))
            }
        }
    }

    fn infix(&mut self, left: Node) -> Result<Node, SyntaxError> {
        let Token::Mark(mark) = self.next() else { return Ok(left) };
        let left_box = |it| Box::new(it);
        Ok(match mark {
            "." if self.is("*") => {
                self.next();
                Node::Values(left_box(left), Box::new(self.projected(DOT)?))
            }
            "." => Node::Sub(left_box(left), Box::new(self.after_dot(DOT)?)),
            "|" => Node::Pipe(left_box(left), Box::new(self.expression(PIPE)?)),
            "||" => Node::Or(left_box(left), Box::new(self.expression(OR)?)),
            "&&" => Node::And(left_box(left), Box::new(self.expression(AND)?)),
            "[?" => self.filter(left)?,
            "[]" => self.flatten(left)?,
            "[" => self.bracket(Some(left))?,
            "==" | "!=" | ">" | ">=" | "<" | "<=" => {
                let comparison = match mark {
                    "==" => Comparison::Equal,
                    "!=" => Comparison::Unequal,
                    ">" => Comparison::Greater,
                    ">=" => Comparison::GreaterOrEqual,
                    "<" => Comparison::Less,
                    _ => Comparison::LessOrEqual,
                };
                Node::Compare(comparison, left_box(left), Box::new(self.expression(COMPARE)?))
            }
            other => {
                self.at = self.at.saturating_sub(1);
                return Err(self.unexpected(&Token::Mark(other)));
            }
        })
    }

    fn call(&mut self, name: &str, position: usize) -> Result<Node, SyntaxError> {
        let function = functions::find(name).ok_or_else(|| error(format!("unknown function: {name}"), position))?;
        self.expect("(")?;
        let mut arguments = Vec::new();
        while !self.is(")") {
            arguments.push(self.expression(0)?);
            if self.is(",") {
                self.next();
            }
        }
        self.expect(")")?;
        function.check_count(arguments.len()).map_err(|it| error(it, position))?;
        Ok(Node::Call(function, arguments))
    }

    fn flatten(&mut self, left: Node) -> Result<Node, SyntaxError> {
        let left = Node::Flatten(Box::new(left));
        Ok(Node::Project(Box::new(left), Box::new(self.projected(FLATTEN)?)))
    }

    fn filter(&mut self, of: Node) -> Result<Node, SyntaxError> {
        let test = self.expression(0)?;
        self.expect("]")?;
        let then = if self.is("[]") { Node::Current } else { self.projected(FILTER)? };
        Ok(Node::Filter { of: Box::new(of), test: Box::new(test), then: Box::new(then) })
    }

    /// What follows `[`: an index, a slice, a projection, or a list of expressions.
    fn bracket(&mut self, left: Option<Node>) -> Result<Node, SyntaxError> {
        let is_list = left.is_none();
        let left = left.unwrap_or(Node::Current);
        match self.peek().clone() {
            Token::Number(_) | Token::Mark(":") => self.index(left),
            Token::Mark("*") if matches!(self.peek_next(), Token::Mark("]")) => {
                self.next();
                self.next();
                Ok(Node::Project(Box::new(left), Box::new(self.projected(STAR)?)))
            }
            _ if is_list => self.list(),
            other => Err(self.unexpected(&other)),
        }
    }

    fn index(&mut self, left: Node) -> Result<Node, SyntaxError> {
        let mut parts = [None; 3];
        let mut colons = 0;
        loop {
            match self.peek().clone() {
                Token::Number(it) => {
                    parts[colons] = Some(it);
                    self.next();
                }
                Token::Mark(":") if colons < 2 => {
                    colons += 1;
                    self.next();
                }
                Token::Mark("]") => break,
                other => return Err(self.unexpected(&other)),
            }
        }
        self.expect("]")?;
        if colons == 0 {
            return Ok(Node::Sub(Box::new(left), Box::new(Node::Index(parts[0].unwrap_or(0)))));
        }
        let sliced = Node::Sub(Box::new(left), Box::new(Node::Slice(parts)));
        Ok(Node::Project(Box::new(sliced), Box::new(self.projected(STAR)?)))
    }

    fn list(&mut self) -> Result<Node, SyntaxError> {
        let mut all = Vec::new();
        loop {
            all.push(self.expression(0)?);
            if self.is("]") {
                self.next();
                return Ok(Node::List(all));
            }
            self.expect(",")?;
        }
    }

    fn hash(&mut self) -> Result<Node, SyntaxError> {
        let mut all = Vec::new();
        loop {
            let name = match self.next() {
                Token::Name(it) | Token::Quoted(it) => it,
                other => {
                    self.at = self.at.saturating_sub(1);
                    return Err(self.unexpected(&other));
                }
            };
            self.expect(":")?;
            all.push((name, self.expression(0)?));
            // A comma may be missing between pairs.
            if self.is(",") {
                self.next();
            } else if self.is("}") {
                self.next();
                return Ok(Node::Hash(all));
            }
        }
    }

    fn after_dot(&mut self, bound: u8) -> Result<Node, SyntaxError> {
        match self.peek() {
            Token::Name(_) | Token::Quoted(_) | Token::Mark("*") => self.expression(bound),
            Token::Mark("[") => {
                self.next();
                self.list()
            }
            Token::Mark("{") => {
                self.next();
                self.hash()
            }
            other => Err(self.unexpected(&other.clone())),
        }
    }

    /// What a projection applies to each of its elements.
    fn projected(&mut self, bound: u8) -> Result<Node, SyntaxError> {
        if power(self.peek()) < 10 {
            return Ok(Node::Current);
        }
        match self.peek() {
            Token::Mark("[" | "[?") => self.expression(bound),
            Token::Mark(".") => {
                self.next();
                self.after_dot(bound)
            }
            other => Err(self.unexpected(&other.clone())),
        }
    }
}

fn show(token: &Token) -> String {
    match token {
        Token::Name(it) | Token::Quoted(it) => format!("{it:?}"),
        Token::Literal(it) => it.to_string(),
        Token::Number(it) => it.to_string(),
        Token::Mark(it) => format!("{it:?}"),
        Token::End => "the end".to_owned(),
    }
}
