//! Errors of a start: alike in every `main`, and one by `?`.

use std::error::Error;
use std::io;
use std::path::Path;

use sidecore::config::Listen;
use sidecore::durable::{Durable, DurableLimits};
use sidecore::http::tls::Certificates;
use sidecore::{Config, Server};
use sidecore_access_log::{AccessLog, Format};
use sidecore_runtime::executor::ExecutorError;
use sidecore_runtime::machine::cpu_list::CpuList;
use sidecore_runtime::machine::placement::PlacementError;
use sidecore_runtime::machine::probe::ProbeError;
use sidecore_runtime::machine::topology::TopologyError;
use sidecore_runtime::net::BindError;
use sidecore_runtime::pool::PoolError;
use sidecore_runtime::stack::NoStacks;
use sidecore_static_files::StaticFiles;

const NOWHERE: &str = "/nonexistent/sidecore";

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

/// Whether an error has a cause of the system's.
fn has_io(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<io::Error>())
}

/// An error of a start: its text is one line by `{}` and `{:?}`, before and after `?`; what it was is
/// found among the sources, and so is an `io::Error` where one is the cause.
fn check<E: Error + 'static>(is_io: bool, error: E)
where
    sidecore::Error: From<E>,
{
    let said = error.to_string();
    assert_eq!(format!("{error:?}"), said);
    assert_eq!(said.lines().count(), 1, "{said}");
    let converted = fails(error).unwrap_err();
    assert_eq!((converted.to_string(), format!("{converted:?}")), (said.clone(), said.clone()));
    assert!(converted.source().is_some_and(|source| source.is::<E>()), "{said}");
    assert_eq!(has_io(&converted), is_io, "{said}");
}

fn fails<E>(error: E) -> sidecore::Result<()>
where
    sidecore::Error: From<E>,
{
    Err(error)?
}

#[test]
fn errors_of_the_configuration_are_alike() {
    let load = |text| Config::loader().file_text("f", text).load().unwrap_err();
    check(false, load("prot = 1"));
    check(false, load("port = \"a\nb\""));
    check(true, Config::loader().variables([("SIDECORE_CONFIG", NOWHERE)]).load().unwrap_err());
    check(false, "nowhere".parse::<Listen>().unwrap_err());
    check(false, "0-".parse::<CpuList>().unwrap_err());
    check(false, PlacementError::NoExecutors);
    check(true, Certificates::from_pem_files(NOWHERE, NOWHERE).unwrap_err());
}

#[test]
fn errors_of_the_system_are_alike() {
    check(false, ProbeError::NotImplemented);
    check(true, TopologyError::Affinity(denied()));
    check(true, BindError::not_inherited("web", &["a", "b"]));
    check(true, ExecutorError::Ring { index: 0, cause: denied() });
    check(false, ExecutorError::Panicked { index: 0, message: "boom".to_owned() });
    check(false, PoolError::NoSeats);
    check(true, PoolError::Thread { task_worker: 0, cause: denied() });
    check(true, PoolError::Stacks(NoStacks::Refused(denied())));
    assert_eq!(format!("{:?}", NoStacks::NotBuilt), NoStacks::NotBuilt.to_string());
}

#[test]
fn errors_of_what_a_server_is_given_are_alike() {
    let open = |directory, name| {
        Durable::<u8, ()>::open(Path::new(directory), name, DurableLimits::default()).err().unwrap()
    };
    check(true, open("/dev/null", "mails"));
    check(false, open(NOWHERE, "no name"));
    check(true, AccessLog::to_file(NOWHERE, Format::combined()).err().unwrap());
    check(false, Format::parse("%I").err().unwrap());
    check(true, StaticFiles::of(NOWHERE).build().err().unwrap());
    check(false, StaticFiles::of("/").index("a/b").build().err().unwrap());
}

#[test]
fn errors_of_the_application_keep_their_text_and_are_had_back() {
    let error = fails(denied()).unwrap_err();
    assert_eq!(error.to_string(), denied().to_string());
    assert_eq!(format!("{error:?}"), error.to_string());
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.unwrap().kind(), io::ErrorKind::PermissionDenied);
    assert!(!error.is_system() && !error.is_config());
    assert_eq!(format!("{:?}", sidecore::Error::other("no such tenant")), "no such tenant");
}

#[test]
fn a_servers_error_says_the_same_in_both_ways() {
    let mut config = Config::default();
    config.host = "none".to_owned();
    let error = Server::new(config)
        .start(|_| sidecore::service_fn(|_| std::future::ready("never")))
        .err()
        .unwrap();
    assert!(error.to_string().contains("would listen nowhere"), "{error}");
    assert_eq!(format!("{error:?}"), error.to_string());
}
