//! Services and layers that come with the server.

mod access_log;
mod static_files;
mod trace;
