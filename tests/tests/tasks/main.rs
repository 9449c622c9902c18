//! Tasks of a server: through the binary, and from handlers, layers and events.

mod binary;
mod closures;
mod events;
mod pools;
mod task_options;
mod trigger;
