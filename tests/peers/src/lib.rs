//! No code: what these tests share is `sidecore-tests`. They are a package of their own because
//! what they stand beside (drivers of databases, other frameworks, exporters) takes long to build.
