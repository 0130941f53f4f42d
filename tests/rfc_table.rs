//! `RFC.md` names a test for each rule of the RFCs that registration obeys. This keeps it true:
//! each test it names is there, and each section that must have a row has one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What must have a row: an RFC, and sections of it.
const REQUIRED: &[(&str, &[&str])] = &[
    (
        "3261",
        &[
            "8.2.2.3", "8.2.6.2", "10.2.1", "10.2.1.1", "10.2.1.2", "10.2.2", "10.2.3", "10.2.4",
            "10.2.8", "10.3", "18.1.1", "18.2.1", "18.2.2", "18.3", "19.1.4", "22.1", "22.3",
            "22.4",
        ],
    ),
    ("2617", &["3.2.2"]),
    ("3327", &["5.3"]),
    ("3581", &["4"]),
    ("3608", &["6.3"]),
    ("3680", &["4.4", "4.5", "4.6", "4.7", "4.10", "5.1"]),
    ("4475", &["3"]),
    ("5118", &["4"]),
    ("5626", &["4.2", "4.4.1", "5.3", "6", "7"]),
    ("5627", &["3.1.2", "5.1", "5.2", "5.4", "6"]),
    ("5923", &["5"]),
    ("6223", &["4.4"]),
    ("7118", &["4", "5", "5.2"]),
    ("7616", &["3.3", "3.4", "3.5", "3.9.1"]),
    ("8760", &["2.4", "2.6"]),
];

/// Steps of RFC 3261 10.3, each of which must have a row.
const STEPS: std::ops::RangeInclusive<u32> = 1..=8;

struct Row {
    rfc: String,
    section: String,
    rule: String,
    place: String,
    test: String,
}

/// The rows of the table. A section stands alone below a heading with one RFC, behind its RFC below
/// a heading with several.
fn rows(table: &str) -> Vec<Row> {
    let mut heading: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for line in table.lines() {
        if let Some(rest) = line.strip_prefix("## RFC ") {
            let numbers = rest.split_once(':').expect("a heading with a colon").0;
            heading = numbers.split(", ").map(str::to_owned).collect();
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [section, rule, place, test] = cells[..] else { continue };
        if section == "section" || section.starts_with('-') {
            continue;
        }
        let (rfc, section) = match (&heading[..], section.split_once(' ')) {
            ([only], None) => (only.as_str(), section),
            ([_, _, ..], Some((rfc, section))) => (rfc, section),
            _ => panic!("whose section is this? {line}"),
        };
        assert!(heading.iter().any(|number| number == rfc), "not below its heading: {line}");
        let [rfc, section, rule, place, test] =
            [rfc, section, rule, place, test].map(str::to_owned);
        rows.push(Row { rfc, section, rule, place, test });
    }
    rows
}

/// Every test below `at`: its file and its name.
fn tests_below(root: &Path, at: &Path, found: &mut BTreeSet<(String, String)>) {
    for entry in fs::read_dir(at).expect("a readable tree") {
        let path = entry.expect("a readable tree").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "node_modules" && name != "target") {
                tests_below(root, &path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let file = path.strip_prefix(root).expect("below the root").display().to_string();
            found.extend(tests_of(&text).into_iter().map(|name| (file.clone(), name)));
        }
    }
}

/// The functions of a source that are tests.
fn tests_of(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| is_test) {
            names.push(rest.split('(').next().expect("a name").to_owned());
            is_test = false;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            is_test = false;
        }
    }
    names
}

/// Whether `file` is what the table calls `place`: that file, or below that module.
fn is_at(file: &str, place: &str) -> bool {
    let module = |rest: &str| rest == ".rs" || rest.starts_with('/');
    file == place || file.strip_prefix(place).is_some_and(module)
}

fn table() -> Vec<Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    rows(&fs::read_to_string(root.join("tests/RFC.md")).expect("the table"))
}

#[test]
fn every_test_the_table_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for tree in ["src", "tests"] {
        tests_below(root, &root.join(tree), &mut tests);
    }
    let missing: Vec<String> = table()
        .iter()
        .filter(|row| {
            !tests.iter().any(|(file, name)| *name == row.test && is_at(file, &row.place))
        })
        .map(|row| {
            format!("RFC {} {} ({}): {} in {}", row.rfc, row.section, row.rule, row.test, row.place)
        })
        .collect();
    assert!(
        missing.is_empty(),
        "tests/RFC.md names tests that are not there:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_section_that_registration_obeys_has_a_row() {
    let rows = table();
    for (rfc, sections) in REQUIRED {
        for section in *sections {
            let has = rows.iter().any(|row| row.rfc == *rfc && row.section == *section);
            assert!(has, "tests/RFC.md has no row for RFC {rfc} {section}");
        }
    }
    for step in STEPS {
        let step = format!("step {step}:");
        let has = rows.iter().any(|row| row.section == "10.3" && row.rule.starts_with(&step));
        assert!(has, "tests/RFC.md has no row for {step} of RFC 3261 10.3");
    }
}

#[test]
fn no_row_stands_twice() {
    let mut seen = BTreeSet::new();
    for row in table() {
        let key = (row.rfc, row.section, row.rule);
        assert!(seen.insert(key.clone()), "twice: {key:?}");
    }
}

#[test]
fn what_is_planted_is_found() {
    let text =
        "#[test]\n#[ignore]\nfn one() {}\nfn two() {}\n    #[test]\n    // why\n    fn three() {\n";
    assert_eq!(tests_of(text), ["one", "three"]);
    assert!(is_at("src/sip/via.rs", "src/sip/via") && is_at("src/sip/via/tests.rs", "src/sip/via"));
    assert!(!is_at("src/sip/viable.rs", "src/sip/via") && is_at("tests/a.rs", "tests/a.rs"));
    let two = "## RFC 1, 2: a\n| section | rule | where | test |\n|---|---|---|---|\n\
               | 2 3.4 | r | p | t |\n";
    let rows = rows(two);
    assert_eq!((rows.len(), &*rows[0].rfc, &*rows[0].section), (1, "2", "3.4"));
}
