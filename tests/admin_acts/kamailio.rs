//! The same phones at Kamailio and at Aorta: what both say of them under `/RPC` has the same shape,
//! key by key. Without Kamailio this is skipped aloud.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::common::{Phone, Response};
use super::office::Office;
use super::{DEADLINE, command};

const PROGRAMS: [&str; 2] = ["/usr/sbin/kamailio", "/usr/local/sbin/kamailio"];

const INSTANCE: &str = "<urn:uuid:00000000-0000-1000-8000-000000000001>";

/// A registrar with no script to speak of.
const CONFIGURATION: &str = r#"#!KAMAILIO
debug=-1
log_stderror=yes
listen=udp:ADDRESS
listen=tcp:ADDRESS
children=1
tcp_children=1
auto_aliases=no
tcp_accept_no_cl=yes
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "kex.so"
loadmodule "xhttp.so"
loadmodule "jsonrpcs.so"
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "preload", "location")
modparam("usrloc", "use_domain", 1)
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 0)
modparam("jsonrpcs", "transport", 1)
request_route {
    if (!is_method("REGISTER")) { exit; }
    save("location");
    exit;
}
event_route[xhttp:request] {
    jsonrpc_dispatch();
    exit;
}
"#;

/// Kamailio, running. Dropping it ends it.
struct Kamailio {
    child: Child,
    directory: PathBuf,
    address: SocketAddr,
}

impl Kamailio {
    fn start() -> Option<Kamailio> {
        let program = PROGRAMS.into_iter().find(|path| Path::new(path).exists())?;
        let directory = std::env::temp_dir().join(format!("aorta-kamailio-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        // A port that was free a moment ago, for both transports.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).ok()?;
        let file = directory.join("kamailio.cfg");
        std::fs::write(&file, CONFIGURATION.replace("ADDRESS", &address.to_string())).ok()?;
        let child = Command::new(program)
            .args(["-DD", "-E", "-m", "64", "-M", "8", "-f"])
            .arg(&file)
            .arg("-P")
            .arg(directory.join("pid"))
            .arg("-Y")
            .arg(&directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let kamailio = Kamailio { child, directory, address };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < DEADLINE, "Kamailio does not come up");
        }
        Some(kamailio)
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // Its children go with it where it is asked to end.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn ask(socket: &UdpSocket, to: SocketAddr, request: &str) -> Response {
    let mut buffer = [0; 4096];
    for _ in 0..20 {
        socket.send_to(request.as_bytes(), to).unwrap();
        if let Ok((length, _)) = socket.recv_from(&mut buffer) {
            return Response::parse(&buffer[..length]);
        }
    }
    panic!("no answer to {request}");
}

/// Registers three phones: plain, with all a contact can have, through a NAT.
fn register(to: SocketAddr) {
    for number in 1..=3 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let mut phone = Phone::new(number, "desk", &socket.local_addr().unwrap().to_string());
        let contact = match number {
            1 => format!("<{}>", phone.contact),
            2 => format!("<{}>;q=0.7;+sip.instance=\"{INSTANCE}\";reg-id=1", phone.contact),
            _ => "<sip:u3@10.0.0.3:5060>".to_owned(),
        };
        let path = ("Path", "<sip:edge.example.com;lr;ob>");
        let supported = ("Supported", "path, outbound");
        let headers = |phone: &mut Phone| match number {
            2 => phone.request(&[("Contact", &contact), ("Expires", "600"), path, supported]),
            _ => phone.request(&[("Contact", &contact), ("Expires", "600")]),
        };
        let mut answer = ask(&socket, to, &headers(&mut phone));
        if answer.status == 401 {
            assert!(phone.take_challenge(&answer));
            answer = ask(&socket, to, &headers(&mut phone));
        }
        assert_eq!(answer.status, 200, "of phone {number} at {to}");
    }
}

/// Of each key the kind of its value, as deep as it goes; of lists their first item.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(list) => Value::Array(list.iter().take(1).map(shape).collect()),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.clone(), shape(value)));
            Value::Object(members.collect())
        }
    }
}

#[test]
fn kamailio_says_of_the_same_phones_what_aorta_says_key_by_key() {
    let Some(kamailio) = Kamailio::start() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: Kamailio is not installed");
        return;
    };
    let Some(office) = Office::open("2", &[]) else { return };
    register(kamailio.address);
    register(office.server.target());
    let both = |method: &str, params: Value| {
        [kamailio.address, office.http].map(|to| command(to, method, params.clone()))
    };
    for (method, params) in [
        ("ul.dump", json!([])),
        ("ul.dump", json!(["brief"])),
        ("ul.lookup", json!(["location", "u1@example.com"])),
        ("ul.lookup", json!(["location", "u2@example.com"])),
        ("ul.lookup", json!(["location", "u9@example.com"])),
        ("ul.lookup", json!(["nowhere", "u1@example.com"])),
        ("ul.rm_contact", json!(["location", "u1@example.com", "sip:nobody@192.0.2.1"])),
        ("ul.flush", json!([])),
        (
            "ul.add",
            json!(["location", "u5@example.com", "sip:u5@192.0.2.5:5060", 300, 0.5, "", 0, 0, 0]),
        ),
        ("ul.lookup", json!(["location", "u5@example.com"])),
        ("ul.rm", json!(["location", "u1@example.com"])),
        ("ul.rm", json!(["location", "u1@example.com"])),
    ] {
        let [theirs, ours] = both(method, params.clone());
        assert_eq!(shape(&ours), shape(&theirs), "{method} {params}\n{theirs:#}\n{ours:#}");
        assert_eq!(ours["error"], theirs["error"], "{method} {params}");
    }
    // The values too, but for what is each one's own.
    let own = [
        "Socket",
        "Ruid",
        "Last-Keepalive",
        "Last-Modified",
        "Address",
        "Expires",
        "Call-ID",
        "CSeq",
        "Keepalive",
    ];
    let [theirs, ours] = both("ul.lookup", json!(["location", "u2@example.com"])).map(|answer| {
        let contact = answer["result"]["Contacts"][0]["Contact"].clone();
        let members: BTreeMap<String, Value> = serde_json::from_value(contact).unwrap();
        let members = members.into_iter().filter(|(key, _)| !own.contains(&key.as_str()));
        members.collect::<BTreeMap<_, _>>()
    });
    assert_eq!(ours, theirs);
    office.server.stop();
}
