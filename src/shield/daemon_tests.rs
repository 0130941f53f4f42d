//! Conversations with `aorta-nft`, good ones and hostile ones, with a stand-in for nftables.

use std::cell::RefCell;
use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// What was said, what was answered, what nftables was given, and how it ended.
fn hold(said: &[u8], mut refuse: impl FnMut(&str) -> bool) -> (String, Vec<String>, Ended) {
    let given = RefCell::new(Vec::new());
    let carry_out = |text: &str| {
        given.borrow_mut().push(text.to_owned());
        match refuse(text) {
            true => Err(NftError::Refused("Error: No such file or directory".to_owned())),
            false => Ok(()),
        }
    };
    let mut desk = Desk::new(carry_out, || time::Instant::from_secs(1000));
    let mut answers = Vec::new();
    let ended = converse(&mut BufReader::new(Cursor::new(said)), &mut answers, &mut desk);
    drop(desk);
    (String::from_utf8(answers).unwrap(), given.into_inner(), ended)
}

#[test]
fn a_server_says_what_it_has_and_it_holds_at_once() {
    let said =
        b"flush\nadd 192.0.2.7/32 600\nadd 10.0.0.0/8 forever\nadd 10.1.0.0/16 5\nping\nping\n";
    let (answers, given, ended) = hold(said, |_| false);
    assert_eq!(answers, "ok 2 1\nok 2 0\n");
    assert_eq!(given.len(), 1, "the second ping changes nothing: {given:?}");
    assert!(given[0].contains("add element inet aorta blocked4 { 192.0.2.7 timeout 600s }"));
    assert!(matches!(ended, Ended::Closed(None)));
}

#[test]
fn nothing_is_done_before_a_ping_and_a_connection_that_breaks_off_does_nothing() {
    let (answers, given, _) = hold(b"add 192.0.2.7/32 600\n", |_| false);
    assert!(answers.is_empty() && given.is_empty());
    let (answers, given, ended) = hold(b"add 192.0.2.7/32 600\npin", |_| false);
    assert!(answers.is_empty() && given.is_empty() && matches!(ended, Ended::Closed(None)));
}

#[test]
fn a_change_that_fails_is_told_from_the_beginning_and_a_missing_table_is_named() {
    let said = b"flush\nping\nadd 192.0.2.7/32 600\nping\n";
    let (answers, given, _) = hold(said, |text| !text.contains("flush"));
    assert_eq!(answers, "ok 0 0\nok 1 0\n");
    assert_eq!(given.len(), 3, "whole, the change, whole");
    assert!(given[2].contains("flush set") && given[2].contains("192.0.2.7"));

    let (answers, given, _) = hold(b"flush\nping\nping\n", |_| true);
    assert_eq!(answers, format!("failed {NO_TABLE}\nfailed {NO_TABLE}\n"));
    assert_eq!(given.len(), 2, "what failed whole is not tried again by itself");
}

#[test]
fn what_is_no_line_of_the_protocol_ends_the_connection() {
    for said in [
        &b"ping\nadd 192.0.2.7/32 600; flush ruleset\nping\n"[..],
        b"ping\n\0\nping\n",
        b"ping\nGET / HTTP/1.1\r\n\r\nping\n",
    ] {
        let (answers, given, ended) = hold(said, |_| false);
        assert_eq!(
            (answers.as_str(), given.len()),
            ("ok 0 0\n", 0),
            "who only asks changes nothing"
        );
        assert!(matches!(ended, Ended::Nonsense(_)), "{ended}");
    }
    let endless = vec![b'a'; 1 << 20];
    let (_, given, ended) = hold(&endless, |_| false);
    assert!(given.is_empty() && matches!(ended, Ended::Nonsense(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is said, nftables is given nothing but elements of the four sets.
    #[test]
    fn no_input_makes_anything_but_elements_of_its_sets(
        said in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            Just(b"add ".to_vec()), Just(b"del ".to_vec()), Just(b"flush".to_vec()),
            Just(b"192.0.2.7/32".to_vec()), Just(b"10.0.0.0/8".to_vec()),
            Just(b"2001:db8::/64".to_vec()), Just(b" 600".to_vec()), Just(b" forever".to_vec()),
            Just(b"\n".to_vec()), Just(b"\nping\n".to_vec()),
            Just(b"add 192.0.2.9/32 60\n".to_vec()), Just(b"}; flush ruleset {".to_vec()),
        ], 0..30),
    ) {
        // The first ping waits for nothing; more would wait for the rest of a real nftables.
        let mut bytes = said.concat();
        if let Some(at) = bytes.windows(5).position(|five| five == b"ping\n") {
            bytes.truncate(at + 5);
        }
        let (_, given, _) = hold(&bytes, |_| false);
        for line in given.iter().flat_map(|text| text.lines()) {
            let mut words = line.split(' ');
            let verb = words.next().unwrap();
            let kind = words.next().unwrap();
            let is_ours = matches!((verb, kind), ("add" | "delete", "element") | ("flush", "set"));
            prop_assert!(is_ours, "{}", line);
            prop_assert_eq!((words.next(), words.next()), (Some("inet"), Some("aorta")));
            prop_assert!(super::super::sets::BLOCKED_SETS.contains(&words.next().unwrap()));
            let rest: String = words.collect();
            let is_element = |c: char| c.is_ascii_hexdigit() || ".:/,timeous".contains(c);
            let inner = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let inner = inner.unwrap_or_default();
            prop_assert!(rest.is_empty() || inner.chars().all(is_element), "{}", line);
        }
    }
}
