//! Functions that some policies have beside those of Kubernetes. Entry point: [`Library`].
//!
//! A library costs nothing before an expression that was compiled with it runs: its context is made once for each thread
//! that evaluates one. What its functions need to know of the world is a [`host`] of the
//! [`Environment`](crate::Environment).

use std::{cell::RefCell, rc::Rc};

use kube_cel::cel::Context;

use crate::functions;

pub use crate::frame::host;

/// Functions, and how they come into a context.
#[derive(Debug)]
pub struct Library {
    /// Names of functions and methods, between blanks; those with a prefix as `prefix.name`.
    pub functions: &'static str,
    /// Names that are refused, and why. One that ends with a dot means everything with that prefix.
    pub refused: &'static [(&'static str, &'static str)],
    /// Adds them. Those of Kubernetes are there already, and may be replaced.
    pub register: fn(&mut Context<'static>),
}

impl Library {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.functions.split_whitespace().any(|it| it == name)
    }

    /// Why `prefix.name` is refused, if it is.
    pub(crate) fn refuses(&self, prefix: &str, name: &str) -> Option<&'static str> {
        let is_meant = |it: &str| match it.strip_suffix('.') {
            Some(it) => it == prefix,
            None => it.split_once('.') == Some((prefix, name)),
        };
        self.refused.iter().find(|it| is_meant(it.0)).map(|it| it.1)
    }
}

/// Contexts of one thread, by library.
type Contexts = Vec<(*const Library, Rc<Context<'static>>)>;

thread_local! {
    static CONTEXTS: RefCell<Contexts> = const { RefCell::new(Vec::new()) };
}

/// The context with a library's functions.
pub(crate) fn context(library: &'static Library) -> Rc<Context<'static>> {
    let known = CONTEXTS.with_borrow(|all| all.iter().find(|it| std::ptr::eq(it.0, library)).map(|it| it.1.clone()));
    known.unwrap_or_else(|| {
        let mut context = functions::context();
        (library.register)(&mut context);
        let context = Rc::new(context);
        CONTEXTS.with_borrow_mut(|all| all.push((library, context.clone())));
        context
    })
}
