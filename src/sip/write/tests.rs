//! Responses as they leave: what is copied, what is added, and that nothing copied begins a line.

use super::*;
use crate::sip::parse::{Framing, Parsed, parse};
use crate::sip::table::HeaderTable;
use proptest::prelude::*;

const SOURCE: &str = "198.51.100.7:40000";

fn request(via: &str, to: &str) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: {via}\r\nv: SIP/2.0/TCP b, SIP/2.0/TCP c\r\n\
         Max-Forwards: 70\r\nf: <sip:a@example.com>;tag=1\r\nTo: {to}\r\ni: x@y\r\n\
         CSeq: 7\r\n REGISTER\r\nSubject: s\r\n\r\n"
    )
}

fn answer(text: &str, source: &str, to_tag: &str) -> String {
    let mut table = HeaderTable::new();
    let Parsed::Complete { message, .. } = parse(text.as_bytes(), Framing::Datagram, &mut table)
    else {
        panic!("{text}")
    };
    let source = source.parse().unwrap();
    let responder = match message.check_request() {
        Ok(head) => Responder::new(message, &head, source),
        Err(_) => Responder::of_faulty(message, source).expect("answerable"),
    };
    let mut buf = [0u8; 2048];
    let response = responder.begin(&mut buf, 200, to_tag.as_bytes()).unwrap();
    let len = response.finish().unwrap();
    String::from_utf8(buf[..len].to_vec()).unwrap()
}

fn top_via(via: &str, source: &str) -> String {
    let text = answer(&request(via, "<sip:a@h>"), source, "t");
    text.lines().nth(1).unwrap().strip_prefix("Via: ").unwrap().to_string()
}

#[test]
fn a_response_copies_what_rfc_3261_8_2_6_2_names_and_nothing_else() {
    let text = answer(
        &request("SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa", "\"A\"\r\n <sip:a@h>"),
        SOURCE,
        "tt",
    );
    assert_eq!(
        text,
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa\r\n\
         Via: SIP/2.0/TCP b, SIP/2.0/TCP c\r\nFrom: <sip:a@example.com>;tag=1\r\n\
         To: \"A\" <sip:a@h>;tag=tt\r\nCall-ID: x@y\r\nCSeq: 7 REGISTER\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_to_tag_is_added_only_where_there_is_none() {
    let via = "SIP/2.0/UDP h";
    assert!(answer(&request(via, "sip:a@h"), SOURCE, "n").contains("To: sip:a@h;tag=n\r\n"));
    assert!(answer(&request(via, "<sip:a@h>;tag=o"), SOURCE, "n").contains(">;tag=o\r\n"));
    assert!(answer(&request(via, "<sip:a@h;tag=o>"), SOURCE, "n").contains("o>;tag=n\r\n"));
    assert!(answer(&request(via, "<sip:a@h>"), SOURCE, "").contains("To: <sip:a@h>\r\n"));
}

#[test]
fn rport_gets_the_source_port_and_received_stands_beside_it_rfc_3581_4() {
    assert_eq!(
        top_via("SIP/2.0/UDP 198.51.100.7:5070;rport;branch=z", SOURCE),
        "SIP/2.0/UDP 198.51.100.7:5070;branch=z;received=198.51.100.7;rport=40000"
    );
    assert_eq!(
        top_via("SIP/2.0/UDP 10.0.0.1;RPORT=1;Received=10.1.1.1;branch=z;x=\"a;b\"", SOURCE),
        "SIP/2.0/UDP 10.0.0.1;branch=z;x=\"a;b\";received=198.51.100.7;rport=40000"
    );
}

#[test]
fn received_is_added_where_sent_by_is_not_the_source_rfc_3261_18_2_1() {
    assert_eq!(
        top_via("SIP/2.0/UDP 10.0.0.1;branch=z", SOURCE),
        "SIP/2.0/UDP 10.0.0.1;branch=z;received=198.51.100.7"
    );
    assert_eq!(
        top_via("SIP/2.0/UDP host.example:5070", SOURCE),
        "SIP/2.0/UDP host.example:5070;received=198.51.100.7"
    );
    let same = "SIP/2.0/UDP 198.51.100.7:9;branch=z";
    assert_eq!(top_via(same, SOURCE), same);
    assert_eq!(
        top_via("SIP/2.0/UDP 198.51.100.7;received=1.2.3.4", SOURCE),
        "SIP/2.0/UDP 198.51.100.7"
    );
}

#[test]
fn ipv6_sources_stand_without_brackets_and_mapped_ones_as_ipv4() {
    assert_eq!(
        top_via("SIP/2.0/UDP [2001:db8::2]:5060;rport", "[2001:db8::1]:6000"),
        "SIP/2.0/UDP [2001:db8::2]:5060;received=2001:db8::1;rport=6000"
    );
    let same = "SIP/2.0/UDP [2001:DB8:0::1]";
    assert_eq!(top_via(same, "[2001:db8::1]:6000"), same);
    assert_eq!(
        top_via("SIP/2.0/UDP h;rport", "[::ffff:192.0.2.9]:7"),
        "SIP/2.0/UDP h;received=192.0.2.9;rport=7"
    );
    assert_eq!(top_via("SIP/2.0/UDP 192.0.2.9", "[::ffff:192.0.2.9]:7"), "SIP/2.0/UDP 192.0.2.9");
}

#[test]
fn values_behind_the_top_one_in_its_header_stay_as_they_are() {
    assert_eq!(
        top_via("SIP/2.0/UDP a;rport , SIP/2.0/UDP b;rport", SOURCE),
        "SIP/2.0/UDP a;received=198.51.100.7;rport=40000, SIP/2.0/UDP b;rport"
    );
}

#[test]
fn a_via_that_cannot_be_read_is_copied_and_answered_to_its_source() {
    let text = request("SIP/2.0/UDP 192.0.2.15;;,;,,", "<sip:a@h>");
    assert!(answer(&text, SOURCE, "t").contains("\r\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n"));
    let mut table = HeaderTable::new();
    let Parsed::Complete { message, .. } = parse(text.as_bytes(), Framing::Datagram, &mut table)
    else {
        panic!()
    };
    let source = SOURCE.parse().unwrap();
    assert_eq!(Responder::of_faulty(message, source).unwrap().destination(), source);
}

#[test]
fn rfc6223_4_3_keep_gets_a_value_only_where_it_is_offered_and_asked_for() {
    let top = |via: &str, keep: Option<u32>| {
        let text = request(via, "<sip:a@h>");
        let mut table = HeaderTable::new();
        let parsed = parse(text.as_bytes(), Framing::Datagram, &mut table);
        let Parsed::Complete { message, .. } = parsed else { panic!() };
        let head = message.check_request().unwrap();
        let mut responder = Responder::new(message, &head, SOURCE.parse().unwrap());
        if let Some(seconds) = keep {
            responder = responder.asking_keep(seconds);
        }
        let mut buf = [0; 1024];
        let len = responder.begin(&mut buf, 200, b"t").and_then(Response::finish).unwrap();
        let text = String::from_utf8(buf[..len].to_vec()).unwrap();
        text.lines().nth(1).unwrap().strip_prefix("Via: ").unwrap().to_owned()
    };
    let received = "received=198.51.100.7;rport=40000";
    let tcp = "SIP/2.0/TCP h:5060";
    let offered = format!("{tcp};branch=z9hG4bKk;keep;rport");
    let asked = format!("{tcp};branch=z9hG4bKk;keep=120;{received}");
    assert_eq!(top(&offered, Some(120)), asked);
    assert_eq!(top(&offered, None), format!("{tcp};branch=z9hG4bKk;keep;{received}"));
    assert_eq!(top(&format!("{tcp};rport"), Some(120)), format!("{tcp};{received}"));
    // A value that came along was somebody else's answer.
    assert_eq!(top(&format!("{tcp};keep=9;rport"), Some(120)), format!("{tcp};keep=9;{received}"));
}

#[test]
fn paths_and_dates_stand_in_headers_of_their_own() {
    let text = request("SIP/2.0/UDP h", "<sip:a@h>");
    let mut table = HeaderTable::new();
    let parsed = parse(text.as_bytes(), Framing::Datagram, &mut table);
    let Parsed::Complete { message, .. } = parsed else { panic!() };
    let responder = Responder::of_faulty(message, SOURCE.parse().unwrap()).unwrap();
    let mut buf = [0; 1024];
    let mut response = responder.begin(&mut buf, 200, b"").unwrap();
    response.header_each("Path", [&b"<sip:p1;lr>"[..], b"<sip:p2;lr>"]).unwrap();
    response.date(UnixTime(1_289_690_940)).unwrap();
    let len = response.finish().unwrap();
    assert!(String::from_utf8(buf[..len].to_vec()).unwrap().ends_with(
        "\r\nPath: <sip:p1;lr>\r\nPath: <sip:p2;lr>\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n\
         Content-Length: 0\r\n\r\n"
    ));
}

#[test]
fn an_ack_a_response_and_a_request_without_via_are_never_answered() {
    for text in [
        "ACK sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        "OPTIONS sip:h SIP/2.0\r\nTo: <sip:h>\r\n\r\n",
    ] {
        let mut table = HeaderTable::new();
        let Parsed::Complete { message, .. } =
            parse(text.as_bytes(), Framing::Datagram, &mut table)
        else {
            panic!("{text}")
        };
        assert!(Responder::of_faulty(message, SOURCE.parse().unwrap()).is_none(), "{text}");
    }
}

#[test]
fn further_headers_numbers_phrases_and_contacts() {
    let text = request("SIP/2.0/UDP 198.51.100.7", "<sip:a@h>;tag=x");
    let mut table = HeaderTable::new();
    let Parsed::Complete { message, .. } = parse(text.as_bytes(), Framing::Datagram, &mut table)
    else {
        panic!()
    };
    let responder = Responder::of_faulty(message, SOURCE.parse().unwrap()).unwrap();
    let mut buf = [0u8; 1024];
    let mut r = responder.begin_with_phrase(&mut buf, 400, &["Missing ", "CSeq"], b"").unwrap();
    r.header("WWW-Authenticate", |w| {
        w.put(b"Digest realm=")?;
        w.quoted(b"a\"b\\c\r\n\x01")
    })
    .unwrap();
    r.header_number("Min-Expires", u64::MAX).unwrap();
    r.header_text("Path", b"<sip:p>,\r\n\t<sip:q>").unwrap();
    let mut line = ContactLine {
        uri: b"sip:a@192.0.2.1",
        expires: 60,
        q: Some(QValue(305)),
        instance: Some(b"<urn:uuid:1>"),
        reg_id: Some(1),
        pub_gruu: Some(b"sip:a@h;gr=urn:uuid:1"),
        temp_gruu: Some(b"sip:t1@h;gr"),
    };
    r.contact(&line).unwrap();
    (line.q, line.instance, line.reg_id) = (None, None, None);
    (line.pub_gruu, line.temp_gruu) = (None, None);
    r.contact(&line).unwrap();
    let len = r.finish().unwrap();
    let text = String::from_utf8(buf[..len].to_vec()).unwrap();
    assert!(text.starts_with("SIP/2.0 400 Missing CSeq\r\n"));
    assert!(text.ends_with(
        "WWW-Authenticate: Digest realm=\"a\\\"b\\\\c  \\\x01\"\r\n\
         Min-Expires: 18446744073709551615\r\nPath: <sip:p>, <sip:q>\r\n\
         Contact: <sip:a@192.0.2.1>;expires=60;q=0.305;pub-gruu=\"sip:a@h;gr=urn:uuid:1\";\
         temp-gruu=\"sip:t1@h;gr\";+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n\
         Contact: <sip:a@192.0.2.1>;expires=60\r\nContent-Length: 0\r\n\r\n"
    ));
}

#[test]
fn a_buffer_that_is_too_small_is_full_at_every_length() {
    let text = request("SIP/2.0/UDP [::1];rport", "<sip:a@h>");
    let mut table = HeaderTable::new();
    let Parsed::Complete { message, .. } = parse(text.as_bytes(), Framing::Datagram, &mut table)
    else {
        panic!()
    };
    let responder = Responder::of_faulty(message, "[::2]:9".parse().unwrap()).unwrap();
    let write = |buf: &mut [u8]| responder.begin(buf, 200, b"t").and_then(Response::finish);
    let whole = write(&mut [0u8; 1024]).unwrap();
    for len in 0..whole {
        assert_eq!(write(&mut vec![0u8; len]), Err(Full));
    }
    assert_eq!(write(&mut vec![0u8; whole]), Ok(whole));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever stands in the copied headers, the response has the lines it should have.
    #[test]
    fn nothing_copied_begins_a_line(
        values in proptest::collection::vec(
            "[a:<>\";, \\\\\0]{0,8}((\r\n|\n)[ \t][a<>;=\"]{0,6}){0,2}", 4,
        ),
    ) {
        let text = format!(
            "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;{}\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: 1 OPTIONS\r\n\r\n",
            values[0], values[1], values[2], values[3]
        );
        let mut table = HeaderTable::new();
        let Parsed::Complete { message, .. } =
            parse(text.as_bytes(), Framing::Datagram, &mut table) else { panic!("{text}") };
        let responder = Responder::of_faulty(message, SOURCE.parse().unwrap()).unwrap();
        let mut buf = [0u8; 1024];
        let len = responder.begin(&mut buf, 400, b"t").and_then(Response::finish).unwrap();
        let lines: Vec<_> = buf[..len].split(|&b| b == b'\n').collect();
        let starts = [&b"SIP/2.0 400 "[..], b"Via: ", b"From: ", b"To: ", b"Call-ID: ",
            b"CSeq: ", b"Content-Length: ", b"\r"];
        prop_assert_eq!(lines.len(), starts.len() + 1);
        for (line, start) in lines.iter().zip(starts) {
            prop_assert!(line.starts_with(start));
            prop_assert!(line.iter().filter(|&&b| b == b'\r').count() == 1);
        }
    }
}
