//! The life of a server, from its start to its end: hooks, signals, restarts, drain.

mod blocked;
mod drain;
mod errors;
mod executor_end;
mod hooks;
mod restarts;
mod signals;
mod standard_error;
mod startup;
