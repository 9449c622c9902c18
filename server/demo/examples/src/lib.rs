//! No code: each example is a program of its own, with the crates that it needs. They are a package apart,
//! so that the demo builds without those.
