//! Who answers for what is at zero before any object says so.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::Handler;

/// Has revisions at zero ready to answer: a guest that needs no process needs no pod for its first requests either. Whoever
/// runs pods implements it; whoever carries requests asks it while a revision has no endpoint, and wakes the autoscaler in
/// the same moment, so that an instance with an object takes over.
///
/// A revision goes by `namespace/name/uid`: one that is made anew under an old name is another one.
pub trait Early: Send + Sync + 'static {
    /// What answers for a revision now. Answers at once, from memory.
    fn ready(&self, revision: &str) -> Option<Arc<dyn Handler>>;

    /// Makes a revision ready, where that can be: `None` where an instance has to come the usual way. Who asks for the same
    /// revision meanwhile waits for the same work.
    fn prepare(self: Arc<Self>, revision: &str) -> BoxFuture<'static, Option<Arc<dyn Handler>>>;

    /// No instance came within the time that requests are answered early: what is ready is judged anew before it answers again.
    fn doubt(&self, revision: &str);
}
