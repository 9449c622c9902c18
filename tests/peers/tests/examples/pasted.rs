//! Every whole program in README and in rustdoc, pasted into a new project whose dependency is sidecore
//! (and tower or axum, where these are the subject): it compiles, starts, answers, and ends when it is told to.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sidecore_tests::{Client, Scratch, ServerProcess, build_project, server_command_of};

/// Cargo features that some of the programs say they need.
const FEATURES: &str = r#"["durable", "websocket"]"#;

/// A program of a document, as its reader sees it.
struct Program {
    /// Of the document and its place there.
    name: String,
    text: String,
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the root of the workspace")
}

/// The Rust files below a folder.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => sources(&path, into),
            false if path.extension().is_some_and(|extension| extension == "rs") => into.push(path),
            false => {}
        }
    }
}

/// The documentation of a file: all of a page, the doc comments of a source.
fn documentation(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "md") {
        return text.lines().map(str::to_owned).collect();
    }
    let doc = |line: &str| {
        let line = line.trim_start();
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
        Some(doc.strip_prefix(' ').unwrap_or(doc).to_owned())
    };
    text.lines().map(|line| doc(line).unwrap_or_default()).collect()
}

/// The programs of a document that serve; what is hidden of them is not pasted.
fn programs(path: &Path) -> Vec<Program> {
    let mut programs = Vec::new();
    // Some(None): one that is not Rust.
    let mut block: Option<Option<String>> = None;
    for (number, line) in documentation(path).iter().enumerate() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let is_source = path.extension().is_some_and(|extension| extension == "rs");
                let is_rust = match language {
                    "" | "no_run" | "ignore" => is_source,
                    language => language.starts_with("rust"),
                };
                block = Some(is_rust.then(String::new));
            }
            (Some(_), Some(_)) => {
                let text = block.take().flatten().unwrap_or_default();
                if text.contains(".serve(") {
                    let place = path.strip_prefix(workspace()).unwrap().display();
                    assert!(text.contains("fn main"), "{place}:{number}: no whole program: {text}");
                    let name = format!("{place}-{number}").replace(['/', '.', '_'], "-");
                    programs.push(Program { name: name.to_lowercase(), text });
                }
            }
            (Some(Some(text)), None) if !line.starts_with("# ") && line != "#" => {
                writeln!(text, "{line}").unwrap();
            }
            _ => {}
        }
    }
    programs
}

/// A project of these programs, with what it depends on.
fn write_project(folder: &Path, dependencies: &str, programs: &[&Program]) {
    fs::create_dir_all(folder.join("src/bin")).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         sidecore = {{ path = {:?}, features = {FEATURES} }}\n{dependencies}",
        workspace().join("server"),
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    for program in programs {
        let path = folder.join("src/bin").join(format!("{}.rs", program.name));
        fs::write(path, &program.text).unwrap();
    }
}

/// A project of these members.
fn write_workspace(project: &Path, members: &str) {
    // The profile that the tests are built in, for what is the same there not to be built anew.
    let workspace_manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let profile = workspace_manifest.split_once("[profile.test-release]\n").expect("it is there").1;
    let profile = profile.split("\n[").next().unwrap();
    let manifest = format!(
        "[workspace]\nmembers = [{members}]\nresolver = \"3\"\n\n[profile.test-release]\n{profile}\n"
    );
    fs::write(project.join("Cargo.toml"), manifest).unwrap();
    // The versions that are tested here, which may be all there are without a network.
    fs::copy(workspace().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
}

#[test]
fn every_program_of_the_documents_runs_in_a_new_project() {
    let mut paths = vec![workspace().join("README.md")];
    sources(&workspace().join("server/src"), &mut paths);
    let programs: Vec<_> = paths.iter().flat_map(|path| programs(path)).collect();
    assert!(programs.len() > 5, "{} programs: are they still found?", programs.len());
    let scratch = Scratch::new("pasted");
    let (with_others, alone): (Vec<_>, Vec<_>) = programs
        .iter()
        .partition(|program| program.text.contains("tower::") || program.text.contains("axum::"));
    write_project(&scratch.path().join("pasted"), "", &alone);
    let others = "tower = { version = \"0.5\", features = [\"util\"] }\n\
                  axum = { version = \"0.8\", default-features = false }\n";
    write_project(&scratch.path().join("pasted-with-others"), others, &with_others);
    write_workspace(scratch.path(), "\"pasted\", \"pasted-with-others\"");
    let folder = build_project(scratch.path()).unwrap_or_else(|said| panic!("{said}"));
    for Program { name, .. } in &programs {
        println!("{name}");
        let mut command = server_command_of(&folder.join(name), &[]);
        command.current_dir(scratch.path());
        let server = ServerProcess::spawn(command);
        let mut client = Client::connect(server.address());
        let answer = client.request("GET", "/", "");
        assert!((200..500).contains(&answer.status), "{name}: {answer:?}");
        server.terminate();
        let ended = server.wait();
        assert!(ended.status.success(), "{name}: {ended:?}");
    }
}

/// Not by a list of types that have nothing to do with it.
#[test]
fn what_cannot_serve_is_told_what_can() {
    for (service, answer) in [
        ("|request: sidecore::Request<sidecore::Incoming>| async { \"hello\" }", "service_fn("),
        ("sidecore::service_fn(|_request| async { 42 })", "answer with a text"),
    ] {
        let text = format!(
            "use sidecore::{{Config, Server}};\n\nfn main() -> sidecore::Result<()> {{\n    \
             Server::new(Config::load()?).serve(|_| {service})?;\n    Ok(())\n}}\n"
        );
        let scratch = Scratch::new("not-an-app");
        let program = Program { name: "not-an-app".to_owned(), text };
        write_project(&scratch.path().join("not-an-app"), "", &[&program]);
        write_workspace(scratch.path(), "\"not-an-app\"");
        let said = build_project(scratch.path()).expect_err("it does not compile");
        assert!(
            said.contains("cannot serve requests") || said.contains("cannot be an answer"),
            "{said}"
        );
        assert!(said.contains(answer), "{said}");
    }
}
