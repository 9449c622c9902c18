//! Static files, as a layer before an application or as a service of their own.
//!
//! ```
//! use sidecore::{Config, Incoming, Request, Response, Server};
//! use sidecore::test_server::TestServer;
//! use sidecore_static_files::StaticFiles;
//! use tower::{Layer, service_fn};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let public = std::env::temp_dir().join(format!("static-files-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&public)?;
//! std::fs::write(public.join("app.css"), "body {}")?;
//! let files = StaticFiles::of(&public)
//!     .cache_control("/assets/*", "public, max-age=31536000, immutable")
//!     .cache_control("*", "no-cache")
//!     .precompressed()
//!     .build()?;
//! # let mut config = Config::default();
//! # (config.options.worker_num, config.options.task_worker_num) = (Some(1), Some(0));
//! // `Server::serve`, where it is no test.
//! let server = TestServer::start(Server::<(), ()>::new(config), move |_executor| {
//!     // A file where there is one; what is none is the application's.
//!     files.layer(service_fn(async |_: Request<Incoming>| {
//!         Ok::<_, std::convert::Infallible>(Response::new("made here".to_owned()))
//!     }))
//! })?;
//! let file = server.get("/app.css")?;
//! assert_eq!((file.text(), file.header("cache-control")), ("body {}".into(), Some("no-cache")));
//! assert_eq!(server.get("/hello")?.text(), "made here");
//! # drop(server);
//! # std::fs::remove_dir_all(public)?;
//! # Ok(())
//! # }
//! ```
//!
//! It replaces Swoole's `document_root` and `static_handler_locations`, and mezzio-swoole's static
//! resource handler with its middleware: the list of types, methods with OPTIONS and 405, HEAD,
//! conditional requests, `cache-control`, `etag` and `last-modified` by pattern, compressed files
//! (made beforehand rather than by each request: [`precompressed`]), mapped roots
//! ([`under`]). Beyond these: byte ranges, and a directory's index.
//!
//! A request's path is decoded and leads to a file, and what is sent of that is decided after RFC 9110. Nothing of it waits for a disk on an executor where
//! [`waiting_on`] gives it task workers to do so.
//!
//! [`precompressed`]: StaticFilesBuilder::precompressed
//! [`under`]: StaticFilesBuilder::under
//! [`waiting_on`]: StaticFilesBuilder::waiting_on

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod body;
mod builder;
mod cache;
mod conditions;
mod encodings;
mod error;
mod files;
mod lookup;
mod path;
mod range;
mod read;
mod rules;
mod service;
mod tree;
mod types;
mod unserved;
mod validators;

pub use crate::body::{FileBody, FileError};
pub use crate::builder::StaticFilesBuilder;
pub use crate::error::StaticFilesError;
pub use crate::files::StaticFiles;
pub use crate::rules::{EntityTags, Rule};
pub use crate::service::{FilesBody, NotFound, ServeFiles, Serving};
pub use crate::tree::Symlinks;
