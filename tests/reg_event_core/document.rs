//! A NOTIFY taken apart, and what a watcher makes of its documents (RFC 3680 5.2): written on
//! strings and a foreign XML parser, so that it can disagree with the server.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::collections::BTreeMap;

use quick_xml::XmlVersion;
use quick_xml::events::Event;

/// One `contact`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    pub attributes: BTreeMap<String, String>,
    pub uri: String,
    pub params: BTreeMap<String, String>,
    pub pub_gruu: Option<String>,
}

impl Contact {
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// `event` and URI.
    pub fn gist(&self) -> String {
        format!("{} {} {}", self.attribute("state"), self.attribute("event"), self.uri)
    }
}

/// One document.
#[derive(Clone, Debug, Default)]
pub struct Document {
    pub version: u32,
    pub full: bool,
    pub aor: String,
    pub id: String,
    pub state: String,
    pub contacts: Vec<Contact>,
}

impl Document {
    /// Reads a document; panics on anything that is not well-formed or not of the schema.
    pub fn parse(text: &str) -> Document {
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().check_end_names = true;
        reader.config_mut().expand_empty_elements = true;
        let mut document = Document::default();
        let mut path: Vec<String> = Vec::new();
        let mut param = String::new();
        loop {
            match reader.read_event().unwrap_or_else(|e| panic!("{e}: {text}")) {
                Event::Start(start) => {
                    let attributes: BTreeMap<String, String> = start
                        .attributes()
                        .map(|attribute| {
                            let attribute = attribute.expect("a good attribute");
                            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                            let name = attribute.key.as_ref().to_owned();
                            (name, value.expect("a good value").into_owned())
                        })
                        .collect();
                    let name = start.name().as_ref().to_owned();
                    let get = |key: &str| attributes.get(key).cloned().unwrap_or_default();
                    match (path.last().map(String::as_str), name.as_str()) {
                        (None, "reginfo") => {
                            assert_eq!(get("xmlns"), "urn:ietf:params:xml:ns:reginfo");
                            document.version = get("version").parse().expect("a version");
                            document.full = match get("state").as_str() {
                                "full" => true,
                                "partial" => false,
                                other => panic!("state {other}"),
                            };
                        }
                        (Some("reginfo"), "registration") => {
                            assert_eq!(document.aor, "", "one registration");
                            document.aor = get("aor");
                            document.id = get("id");
                            document.state = get("state");
                        }
                        (Some("registration"), "contact") => {
                            let contact = Contact { attributes, ..Contact::default() };
                            document.contacts.push(contact);
                        }
                        (Some("contact"), "uri") => {}
                        (Some("contact"), "unknown-param") => param = get("name"),
                        (Some("contact"), "gr:pub-gruu") => {
                            assert_eq!(get("xmlns:gr"), "urn:ietf:params:xml:ns:gruuinfo");
                            document.contacts.last_mut().unwrap().pub_gruu = Some(get("uri"));
                        }
                        (parent, name) => panic!("<{name}> in {parent:?}"),
                    }
                    path.push(name);
                }
                Event::End(_) => {
                    path.pop();
                }
                Event::Text(part) => Self::add(&mut document, &path, &param, &part.xml10_content()),
                Event::GeneralRef(part) => {
                    let name = part.xml10_content();
                    let meant = quick_xml::escape::unescape(&format!("&{name};"))
                        .expect("a reference")
                        .into_owned();
                    Self::add(&mut document, &path, &param, &meant);
                }
                Event::Decl(_) => {}
                Event::Eof => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(path.is_empty());
        document
    }

    fn add(document: &mut Document, path: &[String], param: &str, text: &str) {
        match path.last().map(String::as_str) {
            Some("uri") => document.contacts.last_mut().unwrap().uri.push_str(text),
            Some("unknown-param") => {
                let params = &mut document.contacts.last_mut().unwrap().params;
                params.entry(param.to_owned()).or_default().push_str(text);
            }
            _ => assert!(text.trim().is_empty(), "text {text:?} in {path:?}"),
        }
    }

    pub fn gists(&self) -> Vec<String> {
        self.contacts.iter().map(Contact::gist).collect()
    }
}

/// A NOTIFY.
#[derive(Clone, Debug)]
pub struct Notification {
    pub request_uri: String,
    pub headers: Vec<(String, String)>,
    pub document: Document,
}

impl Notification {
    /// Reads a NOTIFY; panics on anything else.
    pub fn parse(bytes: &[u8]) -> Notification {
        let text = std::str::from_utf8(bytes).expect("a NOTIFY is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap();
        let request_uri = line
            .strip_prefix("NOTIFY ")
            .and_then(|rest| rest.strip_suffix(" SIP/2.0"))
            .unwrap_or_else(|| panic!("{line}"))
            .to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a header line"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let document = Document::parse(body);
        let notification = Notification { request_uri, headers, document };
        assert_eq!(notification.header("Content-Length"), body.len().to_string());
        assert_eq!(notification.header("Content-Type"), "application/reginfo+xml");
        assert!(notification.header("Event").starts_with("reg"));
        notification
    }

    /// The one header of that name.
    pub fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let (_, value) = found.next().unwrap_or_else(|| panic!("{name} in {:?}", self.headers));
        assert!(found.next().is_none(), "{name} once");
        value
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn cseq(&self) -> u32 {
        self.header("CSeq").strip_suffix(" NOTIFY").unwrap().parse().unwrap()
    }

    pub fn is_last(&self) -> bool {
        self.header("Subscription-State").starts_with("terminated")
    }

    /// What its receiver answers.
    pub fn answer(&self, status: u16, headers: &str) -> String {
        format!(
            "SIP/2.0 {status} Answer\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {}\r\n{headers}Content-Length: 0\r\n\r\n",
            self.header("Via"),
            self.header("From"),
            self.header("To"),
            self.header("Call-ID"),
            self.header("CSeq"),
        )
    }
}

/// What a watcher knows, by contact id.
#[derive(Clone, Debug, Default)]
pub struct Watcher {
    pub version: Option<u32>,
    pub contacts: BTreeMap<String, Contact>,
}

impl Watcher {
    /// Takes a document (RFC 3680 5.2). One that follows on another than the last one received
    /// must be full.
    pub fn take(&mut self, document: &Document) {
        match self.version {
            Some(version) if document.version <= version => return,
            Some(version) => {
                let next = document.version == version + 1;
                assert!(next || document.full, "{} after {version} is partial", document.version);
            }
            None => assert!(document.full, "the first document is full"),
        }
        self.version = Some(document.version);
        if document.full {
            self.contacts.clear();
        }
        let mut seen = Vec::new();
        for contact in &document.contacts {
            let id = contact.attribute("id").to_owned();
            assert!(!seen.contains(&id), "{id} twice");
            match contact.attribute("state") {
                "active" => self.contacts.insert(id.clone(), contact.clone()),
                "terminated" => self.contacts.remove(&id),
                other => panic!("state {other}"),
            };
            seen.push(id);
        }
    }
}
