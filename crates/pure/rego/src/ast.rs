//! A module as it is written: names are not resolved, operators are calls of the functions they stand for.

use std::sync::Arc;

use crate::error::Position;
use crate::value::Value;

#[derive(Clone, Debug)]
pub(crate) struct Module {
    pub(crate) package: Vec<Arc<str>>,
    pub(crate) imports: Vec<Import>,
    pub(crate) rules: Vec<Rule>,
}

/// `import data.lib.helpers as h`.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// `data` or `input`, and what follows.
    pub(crate) path: Vec<Arc<str>>,
    /// The name that it has in the module.
    pub(crate) alias: Arc<str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) default: bool,
    /// The name and what follows it in the head: `a.b[x]` is `a`, then `"b"`, then `x`.
    pub(crate) name: Arc<str>,
    pub(crate) path: Vec<Term>,
    /// Of a function.
    pub(crate) params: Option<Vec<Term>>,
    pub(crate) kind: HeadKind,
    pub(crate) body: Vec<Expr>,
    pub(crate) otherwise: Vec<(Option<Term>, Vec<Expr>)>,
    pub(crate) position: Position,
}

/// What a rule's head makes.
#[derive(Clone, Debug)]
pub(crate) enum HeadKind {
    /// A value; `true` where none is written.
    Value(Option<Term>),
    /// A member of a set.
    Member(Term),
}

#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) kind: TermKind,
    pub(crate) position: Position,
}

#[derive(Clone, Debug)]
pub(crate) enum TermKind {
    Const(Value),
    Var(Arc<str>),
    /// A value and the way into it.
    Ref(Box<Term>, Vec<Term>),
    Array(Vec<Term>),
    Object(Vec<(Term, Term)>),
    Set(Vec<Term>),
    ArrayOf(Box<Term>, Vec<Expr>),
    SetOf(Box<Term>, Vec<Expr>),
    ObjectOf(Box<(Term, Term)>, Vec<Expr>),
    /// A call by name.
    Call(Vec<Arc<str>>, Vec<Term>),
}

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    /// What to replace while it is judged: a document or a function, and by what.
    pub(crate) with: Vec<(Term, Term)>,
    pub(crate) position: Position,
    /// Where it lies in the text, in bytes.
    pub(crate) span: (usize, usize),
}

#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    Test(Term),
    Not(Box<Expr>),
    Unify(Term, Term),
    Assign(Term, Term),
    /// `some x, y`.
    Some(Vec<Arc<str>>),
    /// `some k, v in xs`.
    SomeIn(Option<Term>, Term, Term),
    /// `every k, v in xs { … }`.
    Every {
        key: Option<Arc<str>>,
        value: Arc<str>,
        domain: Term,
        body: Vec<Expr>,
    },
}
