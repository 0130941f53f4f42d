//! The style guide as a test: layers, purity, where unsafe code may be, the form of the files.
//! Each rule is a detector over text and two tests: the tree passes, and the detector finds what
//! is planted in a string. Exceptions stand in tables, each with its reason.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;

/// The modules of the crate by height: each may use those below its own height, and itself.
const HEIGHTS: &[(&str, u8)] = &[
    ("limits", 0),
    ("flow", 0),
    ("table", 0),
    ("time", 0),
    ("config", 1),
    ("sip", 2),
    ("auth", 3),
    ("guard", 3),
    ("nat", 3),
    ("registrar", 3),
    ("reg_event", 4),
    ("shard", 5),
    ("reactor", 6),
    ("shield", 7),
    ("store", 7),
    ("admin", 8),
    ("cli", 9),
    // Programs beside `aorta`: arguments and a call.
    ("bin", 10),
];
/// From here on, a module may touch the world.
const SHELL: u8 = 6;
/// Uses across one height: (from, to, reason).
const SIDEWAYS: &[(&str, &str, &str)] =
    &[("registrar", "nat", "a binding keeps what was decided about its pinhole, as a value")];

/// Names that stand for a socket, a clock, a thread, a lock, a log line or a runtime.
const WORLDLY: &[&str] = &[
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "ToSocketAddrs",
    "SystemTime",
    "Mutex",
    "RwLock",
    "Condvar",
    "Barrier",
    "print",
    "println",
    "eprint",
    "eprintln",
    "tracing",
    "glommio",
    "libc",
    "io_uring",
    "socket2",
    "rand",
    "rustix",
];
/// The same as paths, where the last name alone may be something of ours.
const WORLDLY_PATHS: &[(&str, &str)] =
    &[("std", "thread"), ("std::time", "Instant"), ("Instant", "now"), ("log", "")];
/// What only the reactor names.
const RUNTIME: &[&str] = &["glommio", "io_uring", "libc"];

/// Where unsafe code may be.
const UNSAFE_ALLOWED: &[&str] = &[
    "src/sip/scan.rs",
    "src/shard/mesh/ring.rs",
    "src/reactor/",
    "loadgen/src/socket/",
    // The bare loops that the reactors are measured against.
    "bench/datagram.rs",
    "bench/keepalive.rs",
    "bench/peer/datagram_loop.rs",
    "bench/blocked.rs",
];

/// Exceptions of any rule: (rule, path, reason).
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("unsafe", "tests/hostile/memory.rs", "an allocator that counts is unsafe by its trait"),
    ("unfinished", "tests/nat_namespaces.rs", "what it awaits is that the kernel's NAT forgets"),
];

/// One file of the tree, its path from the root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn planted(path: &str, text: &str) -> Self {
        Source { path: path.into(), text: text.into() }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The module of the crate that the file belongs to; none for lib.rs, main.rs, other programs.
    fn module(&self) -> Option<&str> {
        let first = self.path.strip_prefix("src/")?.split('/').next()?;
        let module = first.strip_suffix(".rs").unwrap_or(first);
        (module != "lib" && module != "main").then_some(module)
    }

    fn height(&self) -> Option<u8> {
        height(self.module()?)
    }

    /// Code that ships, without comments and literals; tests come last in a file.
    fn shipped(&self) -> String {
        let code = masked(&self.text, Keep::Code);
        let tests = ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|at| code.find(at)).min();
        code[..tests.unwrap_or(code.len())].to_string()
    }
}

fn height(module: &str) -> Option<u8> {
    HEIGHTS.iter().find(|(name, _)| *name == module).map(|&(_, height)| height)
}

/// Something found: the line (from 1) and what is wrong with it.
type Finding = (usize, String);

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Every file of the tree that is text and not built.
fn tree() -> Vec<Source> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<Source>) {
        let mut entries: Vec<_> =
            fs::read_dir(at).expect("a readable tree").map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let built = matches!(name, "target" | "node_modules") || name.ends_with("-out");
            if built || (name.starts_with('.') && name != ".ci") || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                walk(root, &path, found);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root).expect("below the root");
                found.push(Source { path: path.display().to_string(), text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, root, &mut found);
    assert!(found.iter().any(|source| source.path == "src/lib.rs"), "no sources found");
    found
}

/// The files that only tests compile: the parent declares them under `cfg(test)`.
fn test_only(tree: &[Source]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for source in tree.iter().filter(|source| source.is_rust()) {
        let (stem, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let dir = match file {
            "mod.rs" | "lib.rs" | "main.rs" => stem.to_string(),
            file => format!("{stem}/{}", file.trim_end_matches(".rs")),
        };
        let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            let cfg = pair[0] == "#[cfg(test)]" || pair[0].starts_with("#[cfg(all(test");
            if let Some(name) = pair[1].strip_prefix("mod ").and_then(|m| m.strip_suffix(';'))
                && cfg
            {
                files.insert(format!("{dir}/{name}.rs"));
                files.insert(format!("{dir}/{name}/mod.rs"));
            }
        }
    }
    files
}

/// Runs `detector` over the files that `covers` picks and fails with everything it found.
fn assert_tidy(
    rule: &str,
    covers: impl Fn(&Source) -> bool,
    detector: impl Fn(&Source) -> Vec<Finding>,
) {
    let mut report = String::new();
    let tree = tree();
    let test_only = test_only(&tree);
    for source in tree.iter().filter(|source| covers(source)) {
        let excepted = |&(name, path, _): &(&str, &str, &str)| name == rule && path == source.path;
        let layered = ["layers", "purity", "runtime"].contains(&rule);
        if EXCEPTIONS.iter().any(excepted) || (layered && test_only.contains(&source.path)) {
            continue;
        }
        for (line, what) in detector(source) {
            let _ = writeln!(report, "{}:{line}: {what}", source.path);
        }
    }
    assert!(report.is_empty(), "{rule}:\n{report}");
}

#[derive(Clone, Copy, PartialEq)]
enum Keep {
    /// Neither comments nor literals.
    Code,
    /// Comments too.
    CodeAndComments,
}

/// `text` with what is not kept blanked out, byte for byte, so that lines stay where they are.
fn masked(text: &str, keep: Keep) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut blank = |from: usize, to: usize| {
        out[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    };
    let find = |from: usize, what: &str| text[from..].find(what).map(|at| from + at);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let after_name = at > 0 && is_name(bytes[at - 1]);
        let end = if rest.starts_with(b"//") || rest.starts_with(b"/*") {
            let end = match rest[1] {
                b'/' => find(at, "\n").unwrap_or(bytes.len()),
                _ => find(at + 2, "*/").map_or(bytes.len(), |end| end + 2),
            };
            if keep == Keep::Code {
                blank(at, end);
            }
            end
        } else if let Some(hashes) = raw_string(rest).filter(|_| !after_name) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = find(at, "\"").expect("an opening quote") + 1;
            let end = find(open, &close).map_or(bytes.len(), |end| end + close.len());
            blank(at, end);
            end
        } else if rest[0] == b'"' {
            let mut end = at + 1;
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            let end = (end + 1).min(bytes.len());
            blank(at, end);
            end
        } else if rest[0] == b'\'' {
            // A character, or the tick of a lifetime.
            let character = match rest.get(1) {
                Some(b'\\') => rest.iter().skip(3).position(|&b| b == b'\'').map(|n| n + 4),
                _ => text[at + 1..].chars().next().map(|c| c.len_utf8() + 2),
            };
            match character.filter(|&n| rest.get(n - 1) == Some(&b'\'')) {
                Some(length) => {
                    blank(at, at + length);
                    at + length
                }
                None => at + 1,
            }
        } else {
            at + 1
        };
        at = end;
    }
    String::from_utf8(out).expect("whole literals were blanked")
}

/// The hashes of a raw string that begins here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let rest = rest.strip_prefix(b"b").or(rest.strip_prefix(b"c")).unwrap_or(rest);
    let rest = rest.strip_prefix(b"r")?;
    let hashes = rest.iter().take_while(|&&byte| byte == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands as a whole word.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let end = at + word.len();
        (at == 0 || !is_name(bytes[at - 1])) && (end == bytes.len() || !is_name(bytes[end]))
    })
}

/// The names that follow the path prefix `prefix::`, those of a group in braces too.
fn names_after(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for at in words(code, prefix) {
        let Some(rest) = code[at + prefix.len()..].strip_prefix("::") else { continue };
        let mut depth = 0;
        let mut expected = true;
        for (start, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => expected = true,
                c if c.is_whitespace() => {}
                _ if expected => {
                    expected = false;
                    let name = &rest[start..];
                    let end = name.bytes().position(|byte| !is_name(byte)).unwrap_or(name.len());
                    names.push((line_of(code, at), name[..end].to_string()));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

fn layers(source: &Source) -> Vec<Finding> {
    let Some(module) = source.module() else { return Vec::new() };
    let Some(height_here) = height(module) else {
        return vec![(1, format!("`{module}` has no place in the table of layers"))];
    };
    let code = source.shipped();
    let mut used = names_after(&code, "crate");
    // As many `super` as the file lies deep lead to the root as well.
    let path = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let depth = path.trim_end_matches("/mod").matches('/').count() + 1;
    used.extend(names_after(&code, &vec!["super"; depth].join("::")));
    let mut findings = Vec::new();
    for (line, name) in used {
        let sideways = SIDEWAYS.iter().any(|&(from, to, _)| from == module && to == name);
        if let Some(height) = height(&name)
            && name != module
            && height >= height_here
            && !sideways
        {
            findings.push((line, format!("`{module}` uses `{name}`, which is not below it")));
        }
    }
    if module != "cli" {
        for at in words(&code, "aorta_load") {
            findings.push((line_of(&code, at), "only `cli` runs the load generator".into()));
        }
    }
    findings
}

fn purity(source: &Source) -> Vec<Finding> {
    let code = source.shipped();
    let mut findings = Vec::new();
    for word in WORLDLY {
        for at in words(&code, word) {
            findings.push((line_of(&code, at), format!("`{word}` below the shell")));
        }
    }
    for &(prefix, last) in WORLDLY_PATHS {
        for (line, name) in names_after(&code, prefix) {
            if last.is_empty() || name == last {
                findings.push((line, format!("`{prefix}::{name}` below the shell")));
            }
        }
    }
    findings
}

fn runtime(source: &Source) -> Vec<Finding> {
    let code = source.shipped();
    let found = RUNTIME.iter().flat_map(|word| words(&code, word).map(move |at| (at, word)));
    found.map(|(at, word)| (line_of(&code, at), format!("`{word}` outside the reactor"))).collect()
}

fn unsafety(source: &Source) -> Vec<Finding> {
    if UNSAFE_ALLOWED.iter().any(|allowed| source.path.starts_with(allowed)) {
        return Vec::new();
    }
    let code = masked(&source.text, Keep::Code);
    words(&code, "unsafe").map(|at| (line_of(&code, at), "unsafe code here".into())).collect()
}

fn form(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.text.starts_with("//!") {
        findings.push((1, "does not open with `//!`".to_string()));
    }
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        findings.push((lines, format!("{lines} lines, at most {LINES_MAX}")));
    }
    for (number, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            findings.push((number + 1, format!("{columns} columns, at most {COLUMNS_MAX}")));
        }
    }
    findings
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let code = masked(&source.text, Keep::Code);
    let said = masked(&source.text, Keep::CodeAndComments);
    let mut findings = Vec::new();
    for name in ["todo", "unimplemented", "dbg"] {
        let called = words(&code, name).filter(|at| code[at + name.len()..].starts_with('!'));
        findings.extend(called.map(|at| (line_of(&code, at), format!("`{name}!`"))));
    }
    for word in ["TODO", "FIXME", "XXX"] {
        findings.extend(words(&said, word).map(|at| (line_of(&said, at), format!("`{word}`"))));
    }
    for (at, _) in code.match_indices("#[ignore") {
        findings.push((line_of(&code, at), "an ignored test".into()));
    }
    let tests_from = match source.path.starts_with("tests/") || source.path.contains("/tests/") {
        true => 0,
        false => source.shipped().len(),
    };
    for (at, _) in code.match_indices("thread::sleep").filter(|&(at, _)| at >= tests_from) {
        findings.push((line_of(&code, at), "a test that sleeps; await the condition".into()));
    }
    findings
}

fn machine_paths(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    // In two pieces, so that this file does not find itself.
    for (first, second) in [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/tm", "p/")] {
        let place = format!("{first}{second}");
        for (at, _) in source.text.match_indices(&place) {
            let before = source.text[..at].bytes().next_back();
            if !before.is_some_and(|byte| is_name(byte) || byte == b'.') {
                findings.push((line_of(&source.text, at), format!("a path below `{place}`")));
            }
        }
    }
    findings
}

#[test]
fn imports_go_down_only() {
    assert_tidy("layers", |source| source.is_rust() && source.path.starts_with("src/"), layers);
}

#[test]
fn imports_go_down_only_finds_what_is_planted() {
    for text in [
        "use crate::shard::ShardId;",
        "use crate::{limits, registrar::Core};",
        "fn f() { crate::auth::check() }",
        "use super::super::reactor;",
        "use aorta_load::run;",
    ] {
        assert_eq!(layers(&Source::planted("src/sip/uri.rs", text)).len(), 1, "{text}");
    }
    for text in [
        "use crate::limits::X;\nuse crate::sip::uri;\nuse super::scan;",
        "// crate::shard\nconst S: &str = \"crate::shard\";",
        "#[cfg(test)]\nmod tests { use crate::shard; }",
    ] {
        assert_eq!(layers(&Source::planted("src/sip/uri.rs", text)), [], "{text}");
    }
    assert_eq!(layers(&Source::planted("src/auth/mod.rs", "use super::registrar;")).len(), 1);
    assert_eq!(layers(&Source::planted("src/time.rs", "use crate::sip;")).len(), 1);
    assert_eq!(layers(&Source::planted("src/helper.rs", "")).len(), 1);
    assert_eq!(layers(&Source::planted("src/cli/demo.rs", "use aorta_load::run;")), []);
}

#[test]
fn the_core_knows_no_socket_clock_lock_or_log() {
    let core = |source: &Source| source.height().is_some_and(|height| height < SHELL);
    assert_tidy("purity", core, purity);
}

#[test]
fn the_core_knows_no_socket_clock_lock_or_log_finds_what_is_planted() {
    for text in [
        "use std::net::{IpAddr, UdpSocket};",
        "use std::time::{Duration, Instant};",
        "let now = Instant::now();",
        "use std::thread;",
        "static L: Mutex<()> = x;",
        "println!(\"{x}\");",
        "log::warn!(\"x\");",
        "let x = rand::random();",
    ] {
        assert_eq!(purity(&Source::planted("src/sip/uri.rs", text)).len(), 1, "{text}");
    }
    let pure = "use std::net::{IpAddr, SocketAddr};\nuse std::time::Duration;\n\
                use crate::time::Instant; // not println\n fn operand() {}";
    assert_eq!(purity(&Source::planted("src/sip/uri.rs", pure)), []);
}

#[test]
fn the_runtime_is_named_in_the_reactor_only() {
    let outside = |source: &Source| {
        source.path.starts_with("src/") && !source.path.starts_with("src/reactor/")
    };
    assert_tidy("runtime", |source| source.is_rust() && outside(source), runtime);
}

#[test]
fn the_runtime_is_named_in_the_reactor_only_finds_what_is_planted() {
    for text in ["use glommio::spawn_local;", "libc::getpid()", "io_uring::IoUring::new(8)"] {
        assert_eq!(runtime(&Source::planted("src/cli/doctor.rs", text)).len(), 1, "{text}");
    }
    assert_eq!(runtime(&Source::planted("src/cli/doctor.rs", "// glommio\n\"libc\"")), []);
}

#[test]
fn unsafe_code_stays_where_it_is_allowed() {
    assert_tidy("unsafe", Source::is_rust, unsafety);
}

#[test]
fn unsafe_code_stays_where_it_is_allowed_finds_what_is_planted() {
    let text = "fn f() {\n    let x = '\"';\n    unsafe { g() }\n}\n// unsafe\n\"unsafe\"";
    assert_eq!(unsafety(&Source::planted("src/sip/uri.rs", text))[0].0, 3);
    assert_eq!(unsafety(&Source::planted("src/sip/uri.rs", text)).len(), 1);
    assert_eq!(unsafety(&Source::planted("src/sip/scan.rs", text)), []);
    assert_eq!(unsafety(&Source::planted("src/cli/mod.rs", "r#\"a\" unsafe\"# 'a unsafe_op")), []);
}

#[test]
fn files_open_with_their_purpose_and_keep_their_size() {
    assert_tidy("form", Source::is_rust, form);
}

#[test]
fn files_open_with_their_purpose_and_keep_their_size_finds_what_is_planted() {
    let long_line = format!("//! Owns it.\n{}", "x".repeat(COLUMNS_MAX + 1));
    let long_file = format!("//! Owns it.\n{}", "\n".repeat(LINES_MAX));
    for text in ["use std::fmt;\n", &long_line, &long_file] {
        assert_eq!(form(&Source::planted("src/a.rs", text)).len(), 1);
    }
    let fits = format!("//! Owns it.\n{}\n", "é".repeat(COLUMNS_MAX));
    assert_eq!(form(&Source::planted("src/a.rs", &fits)), []);
}

#[test]
fn nothing_is_left_unfinished() {
    assert_tidy("unfinished", Source::is_rust, unfinished);
}

#[test]
fn nothing_is_left_unfinished_finds_what_is_planted() {
    for text in [
        "todo!()",
        "dbg!(x)",
        "unimplemented!()",
        "// FIXME later",
        "/// TODO: more",
        "#[ignore = \"slow\"]",
        "#[cfg(test)]\nmod tests { fn f() { thread::sleep(d) } }",
    ] {
        assert_eq!(unfinished(&Source::planted("src/a.rs", text)).len(), 1, "{text}");
    }
    assert_eq!(unfinished(&Source::planted("src/a.rs", "thread::sleep(nap); \"TODO\"")), []);
    assert_eq!(unfinished(&Source::planted("tests/a.rs", "thread::sleep(nap)")).len(), 1);
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    assert_tidy("machine paths", |_| true, machine_paths);
}

#[test]
fn no_file_names_a_place_on_somebodys_machine_finds_what_is_planted() {
    let place = format!("cd /{}", "home/somebody/aorta");
    assert_eq!(machine_paths(&Source::planted("README.md", &place)).len(), 1);
    assert_eq!(machine_paths(&Source::planted("README.md", "frame/work/ ./work/ /etc/x")), []);
}

#[test]
fn files_that_only_tests_compile_are_told_apart() {
    let text = "mod ring;\n#[cfg(all(test, not(aorta_loom)))]\nmod tests;\n";
    let found = test_only(&[Source::planted("src/shard/mesh/mod.rs", text)]);
    assert!(found.contains("src/shard/mesh/tests.rs") && !found.contains("src/shard/mesh/ring.rs"));
}

#[test]
fn exceptions_name_files_that_exist() {
    let tree = tree();
    for (rule, path, reason) in EXCEPTIONS {
        assert!(tree.iter().any(|source| source.path == *path), "{rule}: no {path} ({reason})");
    }
}
