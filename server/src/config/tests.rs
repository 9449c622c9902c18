//! Configurations as users write them, right and wrong.

use std::ffi::OsString;
use std::path::Path;

use sidecore_runtime::machine::cpu_list::CpuList;

use super::*;
use crate::config::settings::Config;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    Config::loader()
        .file_text("sidecore.toml", text)
        .variables(variables.iter().copied())
        .load()
        .map_err(|error| error.to_string())
}

fn refused(text: &str, variables: &[(&str, &str)], expected: &str) {
    let error = load(text, variables).expect_err(expected);
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    assert_eq!(error.lines().count(), 1, "{error:?}");
}

#[test]
fn variables_override_the_file_which_overrides_the_defaults() {
    let text = "port = 81\n[options]\nworker_num = 2\nhead_timeout_ms = 5\n";
    let config = load(text, &[("SIDECORE_WORKER_NUM", "3"), ("PATH", "x")]).unwrap();
    assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 81));
    assert_eq!(config.options.worker_num, Some(3));
    assert_eq!(config.options.head_timeout_ms, 5);
    assert_eq!(config.options.task_queue_depth, 1024);
    assert_eq!(config.source_of("worker_num").to_string(), "SIDECORE_WORKER_NUM");
    assert_eq!(config.source_of("head_timeout_ms").to_string(), "sidecore.toml:4");
    assert_eq!(config.source_of("task_queue_depth"), Source::Default);
}

#[test]
fn cpu_lists_are_taken_in_every_writing() {
    let list = |text: &str| Some(text.parse::<CpuList>().unwrap());
    let cpus = |text: &str| load(text, &[]).unwrap().options.worker_cpus;
    assert_eq!(cpus("[options]\nworker_cpus = \"0-3,8\""), list("0-3,8"));
    assert_eq!(cpus("[options]\nworker_cpus = 2"), list("2"));
    assert_eq!(cpus("[options]\nworker_cpus = \"auto\""), None);
    assert_eq!(cpus("[options]\nworker_cpus = [0, 1]"), list("0-1"));
    assert_eq!(cpus("[options]\nworker_cpus = [8, \"2-3\", \"0,2\"]"), list("0,2-3,8"));
    assert_eq!(cpus("[options]\nworker_cpus = [\n    0x1,\n    \"0-6:2\",\n]"), list("0-2,4,6"));
    let config = load("", &[("SIDECORE_TASK_WORKER_CPUS", "2")]).unwrap();
    assert_eq!(config.options.task_worker_cpus, list("2"));
}

#[test]
fn what_is_no_list_of_cpus_is_refused_as_it_was_written() {
    let check = |written: &str, expected: &str| {
        let text = format!("[options]\nworker_cpus = {written}");
        refused(&text, &[], &format!("sidecore.toml:2: worker_cpus = {written}: {expected}"));
    };
    check("[]", "give a list of CPUs, such as \"0-3,8\" or [0, 1], or auto");
    check("\"\"", "give a list of CPUs");
    check("true", "give a list of CPUs");
    check("[0, 1.5]", "give a list of CPUs");
    check("[[0], [1]]", "give a list of CPUs");
    check("-1", "'-1' is neither a CPU number nor a range");
    check("[0, -1]", "'-1' is neither a CPU number nor a range");
    check("[0, \"\"]", "the CPU list has a comma with nothing beside it");
    check("[0, 9000]", "'9000' goes beyond CPU 8191");
    check("[0, \"auto\"]", "'auto' is neither a CPU number nor a range");
}

#[test]
fn times_are_numbers_or_have_a_unit() {
    let write = |text: &str| load(text, &[]).unwrap().options.write_timeout_ms;
    assert_eq!(write("[options]\nwrite_timeout_ms = 10"), 10);
    assert_eq!(write("[options]\nwrite_timeout_ms = \"10\""), 10);
    assert_eq!(write("[options]\nwrite_timeout_ms = \"10s\""), 10_000);
    assert_eq!(write("[options]\nwrite_timeout_ms = \"24h\""), 86_400_000);
    let variables = [
        ("SIDECORE_WRITE_TIMEOUT_MS", "2m"),
        ("SIDECORE_TASK_SPIN_US", "1ms"),
        ("SIDECORE_POOL_MAIL_TASK_STUCK_AFTER_MS", "5s"),
    ];
    let config = load("", &variables).unwrap();
    assert_eq!(config.options.write_timeout_ms, 120_000);
    assert_eq!(config.options.task_spin_us, Some(1_000));
    assert_eq!(config.pool("mail", Options::default()).task_stuck_after_ms, Some(5_000));
    let config = load("[options]\ntask_spin_us = \"auto\"", &[]).unwrap();
    assert_eq!(config.options.task_spin_us, None);
}

#[test]
fn a_time_that_a_key_cannot_have_is_refused_with_what_it_takes() {
    let variable = |value| [("SIDECORE_WRITE_TIMEOUT_MS", value)];
    refused(
        "[options]\nwrite_timeout_ms = \"1500us\"",
        &[],
        "sidecore.toml:2: write_timeout_ms = \"1500us\": 1500us is no whole number of milliseconds",
    );
    refused("", &variable("100us"), "SIDECORE_WRITE_TIMEOUT_MS=100us: 100us is no whole number");
    let range =
        "give a number of milliseconds from 1 to 86400000, or a time with its unit: us, ms,";
    for value in ["25h", "0s", "1.5s", "10 s", "ten", "-1"] {
        refused("", &variable(value), &format!("SIDECORE_WRITE_TIMEOUT_MS={value}: {range}"));
    }
    refused("port = \"10s\"", &[], "port = \"10s\": give a number from 0 to 65535");
    let rate = "[options]\nbody_rate_min_bytes_per_s = \"10s\"";
    refused(rate, &[], "= \"10s\": give a number from 0 to");
}

#[test]
fn nonsense_in_the_file_names_key_and_line() {
    refused(
        "\n[options]\nworker_nmu = 2",
        &[],
        "sidecore.toml:3: worker_nmu is not a known key; did you mean worker_num?",
    );
    refused("prot = 1", &[], "did you mean port?");
    refused(
        "[options]\ntask_queue_depth = 0",
        &[],
        "sidecore.toml:2: task_queue_depth = 0: give a number from 1",
    );
    refused("port = 65536", &[], "sidecore.toml:1: port = 65536: give a number from 0 to 65535");
    refused("port = -1", &[], "port = -1: give a number");
    refused("port = 1.5", &[], "port = 1.5: give a number");
    refused("port = true", &[], "port = true: give a number");
    refused("", &[("SIDECORE_PORT", "80\n")], "SIDECORE_PORT=\"80\\n\": give a number");
    refused("", &[("SIDECORE_PORT", " 80")], "SIDECORE_PORT=\" 80\": give a number");
    refused("port = [1]", &[], "port = [1]: give a number");
    refused("port = 99999999999999999999", &[], "port = 99999999999999999999: give a number");
    refused("host = \"nowhere\"", &[], "host = \"nowhere\": give an IP address");
    refused("host = \"a\"\nhost = \"b\"", &[], "sidecore.toml:2: duplicate key");
    refused("worker_num = 1", &[], "worker_num belongs under [options]");
    refused("[options]\nport = 1", &[], "port belongs at the top");
    refused("options = 3", &[], "options is a table");
    refused("port = ", &[], "sidecore.toml:1: ");
    refused("[other]\nx = 1", &[], "other is not a known table; tuning.md lists them");
    refused(
        "\n[option]\nx = 1",
        &[],
        "sidecore.toml:2: option is not a known table; did you mean [options]?",
    );
    refused("\"a\\nb\" = 1", &[], "sidecore.toml:1: a\u{fffd}b is not a known key");
    refused("[pool.mail]\nx = 1", &[], "pool is not a known table; did you mean [pools]?");
    refused("[options]\nring_entries = 1000", &[], "give a power of two from 64");
    refused("[options]\nworker_cpus = \"3-1\"", &[], "worker_cpus = \"3-1\": ");
    refused("[options]\nworker_num = 0", &[], "worker_num = 0: give a number from 1");
    refused(
        "[options]\nhead_size_max_bytes = 4096",
        &[],
        "sidecore.toml:2: target_length_max_bytes is above head_size_max_bytes",
    );
}

#[test]
fn a_key_in_the_wrong_table_is_told_where_it_belongs() {
    let check = |text: &str, expected: &str| {
        assert_eq!(load(text, &[]).unwrap_err(), format!("sidecore.toml:2: {expected}"));
    };
    check("\nworker_num = 1", "worker_num belongs under [options]");
    check("[options]\nport = 1", "port belongs at the top of the file, before [options]");
    check(
        "\nworker_nmu = 1",
        "worker_nmu is not a known key; did you mean worker_num, which belongs under [options]?",
    );
    check(
        "[options]\nprot = 1",
        "prot is not a known key; did you mean port, which belongs at the top of the file, before \
         [options]?",
    );
    check(
        "[pools.mail]\nwrite_timeout_ms = 1",
        "write_timeout_ms is not a key of a pool: it belongs under [options]",
    );
    check(
        "[pools.mail]\ntask_spare = 1",
        "task_spare is not a key of a pool; did you mean task_spares?",
    );
    check("[options]\nbanana = 1", "banana is not a known key; tuning.md lists them");
}

#[test]
fn a_variable_that_is_not_known_is_compared_without_its_prefix() {
    let check = |name: &str, expected: &str| {
        let loader = Config::loader().file_text("f", "").allow_variable("SIDECORE_DATA_DIR");
        let said = loader.variables([(name, "1")]).load().unwrap_err().to_string();
        let known = format!("{name} is not a known variable, and SIDECORE_ is this server's; ");
        assert_eq!(said, format!("{known}{expected}"));
    };
    check("SIDECORE_PROT", "did you mean SIDECORE_PORT?");
    check("SIDECORE_WORKERS", "did you mean SIDECORE_WORKER_NUM?");
    check("SIDECORE_OPTIONS_WORKER_NUM", "did you mean SIDECORE_WORKER_NUM?");
    check("SIDECORE_CONFG", "did you mean SIDECORE_CONFIG?");
    check("SIDECORE_DATADIR", "did you mean SIDECORE_DATA_DIR?");
    for name in
        ["SIDECORE_X", "SIDECORE_BANANA", "SIDECORE_", "SIDECORE_POOL_", "SIDECORE_POOL_X_Y"]
    {
        check(name, "tuning.md lists them");
    }
    check(
        "SIDECORE_POOL_BIG_MAIL_TASK_WORKER_NMU",
        "did you mean SIDECORE_POOL_BIG_MAIL_TASK_WORKER_NUM?",
    );
    check(
        "SIDECORE_POOL_MAIL_WRITE_TIMEOUT_MS",
        "write_timeout_ms is not a key of a pool, SIDECORE_WRITE_TIMEOUT_MS sets it",
    );
}

#[test]
fn a_value_is_shown_as_the_file_has_it() {
    refused("port = \"x\"", &[], "sidecore.toml:1: port = \"x\": give");
    refused("port = [1, \"2\", [3]]", &[], "port = [1, \"2\", [3]]: give");
    refused("port = \"\"\"\n80\n\"\"\"", &[], "sidecore.toml:1: port = \"80\\n\": give");
    refused("port = { a = 1 }", &[], "port = {...}: give");
    let long = format!("port = \"{}\"", "\u{e9}".repeat(99));
    refused(&long, &[], &format!("port = \"{}...: give", "\u{e9}".repeat(59)));
}

#[test]
fn keys_that_do_not_go_together_are_named_with_every_place() {
    let text = "[options]\nhead_size_max_bytes = 4096\ntarget_length_max_bytes = 4097";
    refused(text, &[], "sidecore.toml:3 and sidecore.toml:2: target_length_max_bytes is above");
    refused(
        "tls_key = \"a.key\"",
        &[("SIDECORE_TLS_CERTIFICATE", "a.pem,b.pem")],
        "SIDECORE_TLS_CERTIFICATE and sidecore.toml:1: tls_certificate and tls_key differ",
    );
    refused("\ntls_key = \"a.key\"", &[], "sidecore.toml:2: tls_certificate and tls_key differ");
}

#[test]
fn a_pool_that_is_not_there_is_named_where_it_stands() {
    let config = load("[pools.mail]\n\n[pools.clam]\n", &[]).unwrap();
    let refused = config.check_pools(&["mail"]).unwrap_err().to_string();
    assert_eq!(refused, "sidecore.toml:3: there is no pool clam; those of this server are mail");
    let config = load("", &[("SIDECORE_POOL_CLAM_TASK_SPARES", "1")]).unwrap();
    let refused = config.check_pools(&[]).unwrap_err().to_string();
    assert!(refused.starts_with("SIDECORE_POOL_CLAM_TASK_SPARES: there is no pool"), "{refused}");
}

#[test]
fn listeners_are_a_list_in_the_file_and_in_a_variable() {
    let listen = |config: Config| config.listen.iter().map(Listen::to_string).collect::<Vec<_>>();
    let text = r#"listen = ["127.0.0.1:81", "unix:/run/a.sock mode=666"]"#;
    assert_eq!(listen(load(text, &[]).unwrap()), ["127.0.0.1:81", "unix:/run/a.sock mode=666"]);
    let variable = [("SIDECORE_LISTEN", "[::1]:82, systemd")];
    assert_eq!(listen(load(text, &variable).unwrap()), ["[::1]:82", "systemd"]);
    assert_eq!(listen(load(text, &[("SIDECORE_LISTEN", "none")]).unwrap()), [""; 0]);
    refused("listen = 81", &[], "sidecore.toml:1: listen = 81: give a list");
    refused("listen = [81]", &[], "listen = [81]: give a list");
    refused(
        "listen = [\"nowhere\"]",
        &[],
        "listen = [\"nowhere\"]: \"nowhere\": give 127.0.0.1:8081",
    );
    refused("", &[("SIDECORE_LISTEN", "[::1]:82,,")], "SIDECORE_LISTEN=[::1]:82,,: \"\": give ");
    refused("[options]\nlisten = []", &[], "listen belongs at the top");
}

#[test]
fn the_first_listener_may_be_behind_a_proxy_or_not_be() {
    let listen = |text, variables: &[_]| {
        load(text, variables).unwrap().main_listen().map(|listen| listen.to_string())
    };
    assert_eq!(listen("", &[]).as_deref(), Some("127.0.0.1:8080"));
    assert_eq!(listen("scheme = \"http proxy\"", &[]).as_deref(), Some("127.0.0.1:8080 proxy"));
    let text = "host = \"::\"\nport = 443\nscheme = \"https proxy\"";
    assert_eq!(listen(text, &[]).as_deref(), Some("[::]:443 tls proxy"));
    let http = [("SIDECORE_SCHEME", "http")];
    assert_eq!(listen(text, &http).as_deref(), Some("[::]:443"));
    assert_eq!(listen("host = \"none\"", &[]), None);
    assert_eq!(listen(text, &[("SIDECORE_HOST", "none")]), None);
    refused("host = \"\"", &[], "host = \"\": give an IP address");
    refused("host = \"None\"", &[], "or none to listen at what `listen` names alone");
}

#[test]
fn certificates_come_with_their_keys() {
    let text = "scheme = \"https\"\ntls_certificate = [\"a.pem\", \"b.pem\"]\ntls_key = \"a.key\"";
    refused(
        text,
        &[],
        "sidecore.toml:2 and sidecore.toml:3: tls_certificate and tls_key differ in number",
    );
    let config = load(text, &[("SIDECORE_TLS_KEY", "a.key,b.key")]).unwrap();
    assert_eq!(config.scheme, Scheme::Https);
    assert_eq!(config.tls_certificate, [Path::new("a.pem"), Path::new("b.pem")]);
    assert_eq!(config.tls_key, [Path::new("a.key"), Path::new("b.key")]);
    refused("scheme = \"ftp\"", &[], "scheme = \"ftp\": give http or https");
    refused("scheme = \"proxy https\"", &[], "scheme = \"proxy https\": give http or https");
    refused("scheme = 1", &[], "scheme = 1: give http or https");
    refused("tls_key = 3", &[], "tls_key = 3: give the path of a file");
}

#[test]
fn http2_is_on_off_or_where_it_is_built_in() {
    let http2 = |text: &str| load("", &[("SIDECORE_HTTP2", text)]).map(|c| c.options.http2);
    assert_eq!((http2("auto"), http2("off")), (Ok(None), Ok(Some(false))));
    match cfg!(feature = "http2") {
        true => assert_eq!(http2("on"), Ok(Some(true))),
        false => refused("", &[("SIDECORE_HTTP2", "on")], "SIDECORE_HTTP2: http2 is on and"),
    }
    refused("[options]\nhttp2 = true", &[], "sidecore.toml:2: http2 = true: give \"on\", \"off\"");
    refused("[options]\nhttp2_streams_max = 0", &[], "http2_streams_max = 0: give a number from 1");
}

#[test]
fn nonsense_in_a_variable_names_the_variable() {
    refused(
        "",
        &[("SIDECORE_PORT", "banana")],
        "SIDECORE_PORT=banana: give a number from 0 to 65535",
    );
    refused("", &[("SIDECORE_PROT", "1")], "SIDECORE_PROT is not a known variable");
    refused("", &[("SIDECORE_PROT", "1")], "did you mean SIDECORE_PORT?");
    refused("", &[("SIDECORE_WORKER_CPUS", "a")], "SIDECORE_WORKER_CPUS=a: ");
    refused(
        "",
        &[("SIDECORE_TASK_WORKER_NUM", "-1")],
        "SIDECORE_TASK_WORKER_NUM=-1: give a number from 0",
    );
}

#[test]
fn variables_of_others_are_left_alone() {
    assert!(load("", &[("SIDECORE_BUDGET_PLAIN", "x"), ("OTHER", "y")]).is_ok());
    let loader = Config::loader().file_text("f", "").allow_variable("SIDECORE_MINE");
    assert!(loader.variables([("SIDECORE_MINE", "x")]).load().is_ok());
}

/// As templates of containers leave it.
#[test]
fn a_variable_that_is_set_and_empty_is_not_set() {
    let text = "port = 81\nlisten = [\"[::1]:82\"]\n[options]\nworker_num = 2";
    for key in keys().iter().map(Key::variable) {
        let config = load(text, &[(&key, ""), ("SIDECORE_CONFIG", "")]).expect(&key);
        assert_eq!((config.port, config.listen.len()), (81, 1), "{key}");
        assert_eq!(config.options.worker_num, Some(2), "{key}");
    }
    assert!(load("", &[("SIDECORE_POOL_MAIL_TASK_WORKER_NUM", ""), ("SIDECORE_X", "")]).is_ok());
}

/// Of services named `sidecore` and `sidecore-api`, as a pod gets them.
#[test]
fn what_kubernetes_says_of_a_service_of_this_name_is_no_setting() {
    let links = [
        ("SIDECORE_PORT", "tcp://10.0.0.1:8080"),
        ("SIDECORE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("SIDECORE_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("SIDECORE_PORT_8080_TCP_PORT", "8080"),
        ("SIDECORE_PORT_8080_TCP_PROTO", "tcp"),
        ("SIDECORE_SERVICE_HOST", "10.0.0.1"),
        ("SIDECORE_SERVICE_PORT", "8080"),
        ("SIDECORE_SERVICE_PORT_HTTP", "8080"),
        ("SIDECORE_API_PORT", "udp://[fd00::1]:53"),
        ("SIDECORE_API_PORT_53_UDP_ADDR", "fd00::1"),
        ("SIDECORE_API_SERVICE_HOST", "fd00::1"),
    ];
    let config = load("port = 81", &links).unwrap();
    assert_eq!(config.port, 81);
    let [note] = &config.notes[..] else { panic!("{:?}", config.notes) };
    assert!(note.contains("SIDECORE_API_PORT and 10 variables more"), "{note}");
    assert!(note.contains("enableServiceLinks: false"), "{note}");
    let one = load("", &links[..1]).unwrap();
    assert!(one.notes[0].contains("SIDECORE_PORT is no setting"), "{:?}", one.notes);

    // What only looks like it is refused as ever.
    refused("", &[("SIDECORE_PORT", "tcp://x")], "SIDECORE_PORT=tcp://x: give a number");
    refused("", &[("SIDECORE_SERVICE_HOST", "x")], "SIDECORE_SERVICE_HOST is not a known");
    refused("", &[("SIDECORE_PORT_1_TCP_X", "1")], "SIDECORE_PORT_1_TCP_X is not a known");
    assert!(load("", &[("SIDECORE_PORT", "82")]).unwrap().notes.is_empty());
}

#[test]
fn a_variable_of_the_application_need_be_no_text() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![b'/', 0xFF]);
    let loader = Config::loader().file_text("f", "").allow_variable("SIDECORE_DATA_DIR");
    assert!(loader.variables([("SIDECORE_DATA_DIR", value)]).load().is_ok());
}

#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![0xFF]);
    let error = Config::loader().file_text("f", "").variables([("SIDECORE_PORT", value)]).load();
    assert!(error.unwrap_err().to_string().contains("SIDECORE_PORT is not UTF-8"));
}

#[test]
fn a_named_file_must_be_there() {
    let loader = Config::loader().variables([("SIDECORE_CONFIG", "/nonexistent/x.toml")]);
    let error = loader.load().unwrap_err().to_string();
    assert!(error.contains("/nonexistent/x.toml cannot be read"), "{error}");
}

/// The file that a variable names, as it stands on the disk.
#[test]
fn a_file_is_named_by_its_path_and_line() {
    let path = std::env::temp_dir().join(format!("sidecore-config-{}.toml", std::process::id()));
    let says = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let refused = Config::loader().variables([("SIDECORE_CONFIG", &path)]).load();
        refused.unwrap_err().to_string()
    };
    let errors = [
        says(b"port = 1\nprot = 2\n"),
        says(b"port = 1\n# caf\xe9\n"),
        says(b"port = 1\r\nhost\r\n"),
    ];
    std::fs::remove_file(&path).unwrap();
    let place = format!("{}:2: ", path.display());
    for (error, expected) in errors.iter().zip(["prot is not", "this line is not UTF-8", ""]) {
        assert!(error.starts_with(&format!("{place}{expected}")), "{error}");
    }
}

#[test]
fn the_example_file_loads_and_shows_every_key_with_its_default() {
    let text = include_str!("../../sidecore.example.toml");
    let uncommented: String = text
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("#: ").unwrap_or(line)))
        .collect();
    let config = load(&uncommented, &[]).unwrap();
    assert_eq!(config.options, Options::default());
    for key in keys() {
        assert_ne!(config.source_of(key.name), Source::Default, "{} is not shown", key.name);
    }
}

#[test]
fn a_configuration_can_be_part_of_a_larger_one() {
    #[derive(serde::Deserialize)]
    struct Mine {
        server: Config,
    }
    let mine: Mine =
        toml::from_str("[server]\nport = 1\n[server.options]\nworker_num = 2").unwrap();
    assert_eq!((mine.server.port, mine.server.options.worker_num), (1, Some(2)));
    assert_eq!(mine.server.source_of("port"), Source::Embedded);
    // Its lines are those of the larger one, which are not known here.
    let refused = toml::from_str::<Mine>("\n\n[server]\nprot = 1").err().unwrap().to_string();
    assert!(refused.contains("configuration: prot is not a known key"), "{refused}");
}
