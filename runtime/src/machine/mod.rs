//! What the machine is, who runs where, and whether the kernel gives what is needed: all of it known
//! before anything starts.

pub mod cpu_list;
pub mod placement;
pub mod probe;
pub mod topology;
