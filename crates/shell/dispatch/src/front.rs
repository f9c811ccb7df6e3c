//! What a listener of the gateway answers beside functions.

use std::fmt::Debug;

use futures::future::BoxFuture;
use http::{Request, Response, Uri, request::Parts};

use crate::Body;

/// What is done with the response of a request that went by, once its head is known.
pub type Passing = Box<dyn FnOnce(&mut Response<Body>) + Send>;

/// Stands before the functions on a listener of its own: answers what concerns itself, and sees the rest go by.
pub trait Front: Debug + Send + Sync + 'static {
    /// Whether it answers a request with this head itself. What it does not take is a call of a function by its name.
    fn takes(&self, head: &Parts) -> bool;

    /// The call of a function, by its name in the path, that a request which it takes asks it to make later. Whoever may not
    /// make that call himself may not ask for it either.
    fn asks_for(&self, head: &Parts) -> Option<Uri>;

    /// Answers a request.
    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;

    /// A call of a function goes by; its head may be changed.
    fn passes(&self, head: &mut Parts) -> Passing;
}
