//! No code but that of the guides and the README: what these tests share is `sidecore-tests`. They are a package of their own because
//! what they stand beside (drivers of databases, other frameworks, exporters) takes long to build.

#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/getting-started.md")]
    struct GettingStarted;

    #[doc = include_str!("../../../docs/features.md")]
    struct Features;

    #[doc = include_str!("../../../docs/deployment.md")]
    struct Deployment;

    #[doc = include_str!("../../../docs/watching.md")]
    struct Watching;

    #[doc = include_str!("../../../docs/from-swoole-and-mezzio.md")]
    struct FromSwooleAndMezzio;

    #[doc = include_str!("../../../docs/from-tokio-and-axum.md")]
    struct FromTokioAndAxum;
}
