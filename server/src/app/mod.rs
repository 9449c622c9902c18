//! The application's side of a server: a service, the body that it reads, answers at once, and who
//! asks.
//!
//! What serves is any `tower::Service` over `http` types ([`App`](crate::App)), such as
//! [`service_fn`](crate::service_fn) makes of a function; or one with [`Direct`] answers before it, such as those of a [`DirectRouter`].

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod direct_router;
#[cfg(feature = "http2")]
pub(crate) mod http2_body;
pub(crate) mod service;

pub use self::answer::{Answering, EitherBody, IntoAnswer, ServiceFn, WholeBody};
pub use self::body::BodyError;
pub use self::direct_router::{DirectParams, DirectRequest, DirectRouter};
pub use self::service::{
    Direct, Oneshot, PeerAddress, Plain, RefusedRequest, Secured, ServiceFailed, WithPeers,
    answered_instead,
};

/// The trait of a service, whose crate is not at 1.0 yet.
pub use tower_service;
