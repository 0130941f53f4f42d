//! Subscriber files: what is read from a line, and what is wrong with one.

use proptest::prelude::*;

use super::*;

const HA1: &str = "939e7578ed9e3c518a452acee763bce9";
const HA1_SHA256: &str = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";

fn one(line: &str) -> Subscriber {
    parse(line.as_bytes()).unwrap().remove(0)
}

fn wrong(text: &str) -> (usize, Wrong) {
    parse(text.as_bytes()).unwrap_err()
}

#[test]
fn password_becomes_every_ha1_with_the_domain_as_realm() {
    let alice = one("alice@Example.COM \t secret\r");
    assert_eq!(alice.user_at_domain, "alice@example.com");
    assert_eq!(alice.ha1s, Ha1s::from_password("alice@example.com", "secret", true));
    assert!(alice.ha1s.by_aor.sha256.is_some());
}

#[test]
fn given_ha1s_are_taken_as_they_are() {
    let bob = one(&format!("bob@example.com ha1 {}", HA1.to_uppercase())).ha1s;
    assert_eq!(bob.by_user.md5, parse_hex(HA1.as_bytes()));
    assert_eq!((bob.by_user.sha256, bob.by_aor.md5, bob.by_aor.sha256), (None, None, None));
    let carol = one(&format!("carol@example.com ha1 {HA1} ha1-sha256 {HA1_SHA256}")).ha1s;
    assert_eq!(carol.by_user.sha256, parse_hex(HA1_SHA256.as_bytes()));
    let dave = one(&format!("d@example.com ha1-sha256 {HA1_SHA256}")).ha1s;
    assert_eq!((dave.by_user.md5, dave.by_user.sha256), (None, carol.by_user.sha256));
    let erin = one(&format!("e@example.com ha1b {HA1} ha1b-sha256 {HA1_SHA256} ha1 {HA1}")).ha1s;
    assert_eq!(erin.by_aor.md5, bob.by_user.md5);
    assert_eq!(erin.by_aor.sha256, carol.by_user.sha256);
}

#[test]
fn options_follow_any_form_of_secret() {
    let bindings = |line: &str| one(line).policy.unwrap().bindings_max;
    assert_eq!(bindings("a@b p bindings=2"), Some(2));
    assert_eq!(bindings(&format!("a@b ha1 {HA1} ha1-sha256 {HA1_SHA256} bindings=3")), Some(3));
    let equals = one("a@b p=q bindings=4");
    assert_eq!(equals.ha1s, Ha1s::from_password("a@b", "p=q", true));
    assert_eq!(one("a@b p").policy, None);
    assert_eq!(one("a@b bindings=2").ha1s, Ha1s::from_password("a@b", "bindings=2", true));
}

#[test]
fn a_dash_before_options_is_no_secret_and_alone_is_a_password() {
    let trunk = one("a@b - auth=network allow=192.0.2.0/24");
    assert!(trunk.ha1s.is_empty());
    assert_eq!(one("a@b -").ha1s, Ha1s::from_password("a@b", "-", true));
    assert_eq!(wrong("a@b - bindings=2"), (1, Wrong::Option(WrongOption::NoSecret)));
}

#[test]
fn accounts_with_the_same_options_share_one_policy() {
    let all = parse(b"a@b p bindings=2\nc@b q bindings=2\nd@b q bindings=3\n").unwrap();
    let policy = |at: usize| all[at].policy.as_ref().unwrap();
    assert!(Arc::ptr_eq(policy(0), policy(1)));
    assert_eq!(policy(2).bindings_max, Some(3));
    assert_eq!(all.iter().map(|one| one.line).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_wrong_option_is_named_with_its_line_and_field() {
    let unknown = WrongOption::Unknown { field: 4, nearest: Some("bindings") };
    assert_eq!(wrong("a@b p\nc@b p expires=60-600 binding=2"), (2, Wrong::Option(unknown)));
    let stray = format!("a@b ha1 {HA1} bindings=2 three");
    assert_eq!(wrong(&stray), (1, Wrong::Option(WrongOption::NoOption(5))));
    let no_digits = wrong("a@b ha1 bindings=2 ha1b");
    assert_eq!(no_digits, (1, Wrong::Option(WrongOption::NoOption(4))));
}

#[test]
fn a_keyword_alone_is_a_password() {
    let alice = one("alice@example.com ha1");
    assert_eq!(alice.ha1s, Ha1s::from_password("alice@example.com", "ha1", true));
}

#[test]
fn comments_blank_lines_and_the_utf8_mark_are_passed_over() {
    let text = "\u{feff}# subscribers\n\n   \t\na@b p\n#a@b p\n\na@c p";
    let names: Vec<String> =
        parse(text.as_bytes()).unwrap().into_iter().map(|s| s.user_at_domain).collect();
    assert_eq!(names, ["a@b", "a@c"]);
    assert_eq!(parse(b"").unwrap(), []);
}

#[test]
fn malformed_lines_are_refused_with_their_number_and_reason() {
    let long_user = format!("{}@b p", "a".repeat(AOR_BYTES_MAX));
    let long_name = format!("{}@b p", "a".repeat(3 * AOR_BYTES_MAX));
    let long_password = format!("a@b {}", "p".repeat(PASSWORD_BYTES_MAX + 1));
    let short = format!("a@b ha1 {}", &HA1[1..]);
    let odd = format!("a@b ha1 {}g", &HA1[1..]);
    let sha_as_md5 = format!("a@b ha1 {HA1_SHA256}");
    let twice = format!("a@b ha1 {HA1} ha1 {HA1}");
    let trailing = format!("a@b ha1 {HA1} ha1-sha256");
    let unknown = format!("a@b ha1 {HA1} md5 {HA1}");
    let cases: [(&str, Wrong); 24] = [
        ("alice", Wrong::NoUserAtDomain),
        ("alice secret", Wrong::NoUserAtDomain),
        ("@example.com p", Wrong::NoUserAtDomain),
        ("alice@ p", Wrong::NoUserAtDomain),
        ("al\"ice@b p", Wrong::User),
        ("a%4@b p", Wrong::User),
        ("a:p@b p", Wrong::User),
        ("é@b p", Wrong::User),
        ("a@b@c p", Wrong::Domain),
        ("a@b:5060 p", Wrong::Domain),
        ("a@b;transport=tcp p", Wrong::Domain),
        ("a@exa\"mple p", Wrong::Domain),
        ("a@b", Wrong::NoPassword),
        ("a@b  ", Wrong::NoPassword),
        ("a@b my password", Wrong::Keyword(2)),
        ("a@b HA1 00", Wrong::Keyword(2)),
        (&long_user, Wrong::AorTooLong),
        (&long_name, Wrong::AorTooLong),
        (&long_password, Wrong::PasswordTooLong),
        (&short, Wrong::Hex("ha1")),
        (&odd, Wrong::Hex("ha1")),
        (&sha_as_md5, Wrong::Hex("ha1")),
        (&twice, Wrong::KeywordTwice("ha1")),
        (&trailing, Wrong::NoHex("ha1-sha256")),
    ];
    for (line, reason) in cases {
        assert_eq!(wrong(&format!("ok@b p\n\n{line}\nalso-ok@b p\n")), (3, reason), "{line}");
    }
    assert_eq!(wrong(&unknown), (1, Wrong::Keyword(4)));
    assert_eq!(parse(b"a@b p\na\xff@b p"), Err((2, Wrong::Utf8)));
    assert_eq!(wrong(&"x".repeat(SUBSCRIBER_LINE_BYTES_MAX + 1)), (1, Wrong::LineTooLong));
}

#[test]
fn duplicates_name_both_lines_whatever_the_spelling() {
    let text = "# head\nalice@example.com p\nbob@example.com p\n%61lice@EXAMPLE.com q\n";
    assert_eq!(wrong(text), (4, Wrong::Duplicate { first: 2 }));
    assert!(parse(b"Alice@b p\nalice@b p").is_ok());
}

#[test]
fn users_are_spelled_as_the_registrar_looks_them_up() {
    assert_eq!(one("%61%3b%23%e9@B p").user_at_domain, "a;%23%E9@b");
    assert_eq!(one("a@[2001:DB8::1] p").user_at_domain, "a@[2001:db8::1]");
    assert_eq!(one("+4930;x=1@b p").user_at_domain, "+4930;x=1@b");
}

#[test]
fn errors_read_file_line_and_what_was_expected() {
    let file = std::env::temp_dir().join(format!("aorta-subscribers-{}", std::process::id()));
    fs::write(&file, "alice@example.com p\nbob@example.com\n").unwrap();
    let error = load(&file).unwrap_err().to_string();
    fs::remove_file(&file).unwrap();
    let place = file.display();
    assert_eq!(error, format!("{place}:2: expected a password or `ha1` with 32 hex digits"));
    let missing = load(&file).unwrap_err().to_string();
    assert!(missing.starts_with(&format!("cannot read subscribers from {place}: ")), "{missing}");
}

#[test]
fn test_accounts_are_u1_to_un_with_passwords_p1_to_pn() {
    let accounts = test_accounts(3, false);
    assert_eq!(accounts.len(), 3);
    assert_eq!(accounts[2].user_at_domain, "u3@example.com");
    assert_eq!(accounts[2].ha1s, Ha1s::from_password("u3@example.com", "p3", false));
    assert_eq!(accounts[0].ha1s.by_user.sha256, None);
    assert!(test_accounts(1, true)[0].ha1s.by_user.sha256.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_are_accounts_or_a_line_that_is_wrong(
        text in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"a@b \n#%1".to_vec())],
            0..200,
        ),
    ) {
        match parse(&text) {
            Ok(subscribers) => {
                for subscriber in subscribers {
                    prop_assert!(subscriber.user_at_domain.len() <= AOR_BYTES_MAX);
                    prop_assert!(!subscriber.ha1s.is_empty());
                }
            }
            Err((line, _)) => {
                prop_assert!(line >= 1 && line <= text.split(|&b| b == b'\n').count());
            }
        }
    }

    #[test]
    fn canonical_names_stay_as_they_are(
        user in "[a-zA-Z0-9;?/%]{1,8}",
        domain in "[a-zA-Z]{1,8}",
    ) {
        if let Ok(name) = canonical(&format!("{user}@{domain}")) {
            prop_assert_eq!(canonical(&name), Ok(name));
        }
    }
}

#[test]
fn passwords_of_fewer_than_twelve_characters_are_marked() {
    let ha1 = "0".repeat(32);
    for (line, short) in [
        ("a@b elevenchars", true),
        ("a@b twelve-chars", false),
        ("a@b elf-Zeichen\u{e4}", false),
        ("a@b zehn-Zeich\u{e4}", true),
        ("a@b - auth=network allow=192.0.2.0/24", false),
        ("a@b -", true),
        ("a@b ha1", true),
    ] {
        assert_eq!(one(line).has_short_password, short, "{line}");
    }
    assert!(!one(&format!("a@b ha1 {ha1}")).has_short_password);
}
