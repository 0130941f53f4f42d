//! SIGHUP at the built server, with one reactor and with two: what is new holds, what was granted
//! stays, and a fault anywhere changes nothing.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use common::{Phone, Response};
use serve::{Server, Wire};

/// A folder with the two files a server reads, gone with the test.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Files(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("the folder is there");
    }

    /// The configuration: this text, and the subscriber file.
    fn configure(&self, text: &str) {
        let subscribers = self.path("subscribers");
        self.write("aorta.toml", &format!("{text}\n[serve]\nsubscribers = {subscribers:?}\n"));
    }

    fn subscribe(&self, text: &str) {
        self.write("subscribers", text);
    }

    fn start(&self, reactors: &str, more: &[&str]) -> Option<Server> {
        let config = self.path("aorta.toml");
        let arguments =
            ["--config", &config, "--listen", "udp:127.0.0.1:0", "--reactors", reactors];
        Server::start_bare(&[&arguments, more].concat())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `test` with one reactor and with two; the number is part of file names too.
fn each(test: impl Fn(&str)) {
    for reactors in ["1", "2"] {
        test(reactors);
    }
}

/// Sends SIGHUP and waits for the line that says what became of it.
fn reload(server: &mut Server) -> String {
    server.process.signal("HUP");
    let said = server.process.wait_for(|line| line.contains("SIGHUP"));
    let said = said.unwrap_or_else(|| panic!("it ended: {:?}", server.process.err));
    said.strip_prefix("aorta: SIGHUP: ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

struct Caller {
    phone: Phone,
    wire: Wire,
}

impl Caller {
    fn new(target: SocketAddr, user: &str, password: &str) -> Caller {
        let wire = Wire::to(target);
        let mut phone = Phone::new(1, user, &wire.local().to_string());
        phone.user = user.into();
        phone.password = password.into();
        Caller { phone, wire }
    }

    /// Asks, and once more with credentials where it is challenged.
    fn ask(&mut self, headers: &[(&str, &str)]) -> Response {
        let response = self.wire.ask(&self.phone.request(headers));
        if response.status != 401 {
            return response;
        }
        assert!(self.phone.take_challenge(&response));
        self.wire.ask(&self.phone.request(headers))
    }

    fn register(&mut self, expires: u32) -> Response {
        let contact = format!("<{}>", self.phone.contact);
        self.ask(&[("Contact", &contact), ("Expires", &expires.to_string())])
    }

    /// The seconds granted to its own contact.
    fn granted(&mut self, expires: u32) -> u32 {
        let response = self.register(expires);
        assert_eq!(response.status, 200, "{}", response.reason);
        response.contacts().iter().find(|(uri, _)| *uri == self.phone.contact).expect("listed").1
    }

    /// What is bound, with the seconds left.
    fn fetch(&mut self) -> Vec<(String, u32)> {
        let response = self.ask(&[]);
        assert_eq!(response.status, 200, "{}", response.reason);
        response.contacts()
    }
}

#[test]
fn accounts_come_change_and_go_while_it_serves() {
    each(|reactors| {
        let files = Files::new(&format!("accounts-{reactors}"));
        files.configure("");
        files.subscribe("alice@example.com old\nbob@example.com b\ndave@example.com d\n");
        let Some(mut server) = files.start(reactors, &[]) else { return };
        let target = server.target();
        let mut alice = Caller::new(target, "alice", "old");
        let mut bob = Caller::new(target, "bob", "b");
        let mut dave = Caller::new(target, "dave", "d");
        for caller in [&mut alice, &mut bob, &mut dave] {
            assert_eq!(caller.register(600).status, 200);
        }

        files.subscribe("alice@example.com new\ncarol@example.com c\ndave@example.com d\n");
        assert_eq!(
            reload(&mut server),
            "0 settings changed; accounts: 1 added, 1 changed, 1 removed, 3 in all"
        );

        assert_eq!(alice.register(600).status, 401, "the old password");
        let mut renewed = Caller::new(target, "alice", "new");
        assert_eq!(renewed.fetch()[0].0, alice.phone.contact, "a new password keeps the binding");
        assert_eq!(renewed.register(600).status, 200);
        assert_eq!(bob.register(600).status, 401, "an account that is gone");
        assert_eq!(Caller::new(target, "carol", "c").register(600).status, 200);
        assert_eq!(dave.register(600).status, 200);

        // The account comes back, its binding does not.
        files.subscribe("alice@example.com new\nbob@example.com b\n");
        assert!(reload(&mut server).contains("1 added, 0 changed, 2 removed, 2 in all"));
        assert_eq!(Caller::new(target, "bob", "b").fetch(), []);
        assert_eq!(
            reload(&mut server),
            "0 settings changed; accounts: 0 added, 0 changed, \
             0 removed, 2 in all"
        );
        let counters = server.stop();
        assert_eq!(counters.of("removed"), 3, "bob, carol and dave were bound: {counters:?}");
    });
}

#[test]
fn a_fault_in_either_file_changes_nothing_and_is_one_line_with_its_place() {
    each(|reactors| {
        let files = Files::new(&format!("faults-{reactors}"));
        let good_settings = "[registrar]\nexpires_max = 600\nexpires_spread = 0\n";
        let good_accounts = "alice@example.com a\n";
        files.configure(good_settings);
        files.subscribe(good_accounts);
        let Some(mut server) = files.start(reactors, &[]) else { return };
        let mut alice = Caller::new(server.target(), "alice", "a");
        assert_eq!(alice.granted(3600), 600);

        let (config, subscribers) = (files.path("aorta.toml"), files.path("subscribers"));
        let other_settings = "[registrar]\nexpires_max = 300\nexpires_spread = 0\n";
        let other_accounts = "alice@example.com b\n";
        let faults = [
            (
                "[registrar]\nexpires_mox = 300\n",
                other_accounts,
                format!(
                    "{config}:2: registrar.expires_mox: unknown name, did you mean \
                         registrar.expires_max?"
                ),
            ),
            (
                "SS_ENDPOINT_EXPIRE = 10\n",
                other_accounts,
                format!(
                    "{config}:1: SS_ENDPOINT_EXPIRE (registrar.expires_max): 10 is outside \
                         its range, expected 20-86400 s"
                ),
            ),
            ("[registrar\n", other_accounts, format!("{config}:1: ")),
            (
                other_settings,
                "alice@example.com b\nbob@example.com b binding=3\n",
                format!("{subscribers}:2: unknown option as field 3, did you mean bindings=?"),
            ),
            (
                "[domain.\"example.net\"]\naliases = [\"example.com\"]\n",
                other_accounts,
                format!("{subscribers}:1: example.com is an alias of example.net"),
            ),
            (
                "[tls]\ncertificate = \"no-such.pem\"\nkey = \"no-such.pem\"\n",
                other_accounts,
                "tls.certificate: cannot read no-such.pem".to_owned(),
            ),
            (other_settings, "", "no account and no domain".to_owned()),
        ];
        for (settings, accounts, expected) in faults {
            files.configure(settings);
            files.subscribe(accounts);
            let said = reload(&mut server);
            let expected = format!("nothing changed: {expected}");
            assert!(said.starts_with(&expected), "{said:?} is not {expected:?}");
            assert_eq!(alice.granted(3600), 600);
        }
        fs::remove_file(files.0.join("subscribers")).expect("it was there");
        assert!(reload(&mut server).starts_with("nothing changed: cannot read subscribers"));

        files.configure("[registrar]\nx = 1\ny = 2\nz = 3\n");
        let said = reload(&mut server);
        assert!(said.ends_with(" (and 2 more)"), "{said}");

        files.configure(good_settings);
        files.subscribe(good_accounts);
        assert!(reload(&mut server).starts_with("0 settings changed; accounts: 0 added, 0 ch"));
        assert_eq!(alice.granted(3600), 600);
        server.stop();
    });
}

#[test]
fn another_range_of_expiries_holds_for_new_registrations_and_leaves_the_old() {
    each(|reactors| {
        let files = Files::new(&format!("expiries-{reactors}"));
        let settings = |max: u32, min: u32| {
            format!("[registrar]\nexpires_max = {max}\nexpires_min = {min}\nexpires_spread = 0\n")
        };
        files.configure(&settings(3000, 60));
        files.subscribe("alice@example.com a\nbob@example.com b\n");
        let Some(mut server) = files.start(reactors, &[]) else { return };
        let mut alice = Caller::new(server.target(), "alice", "a");
        let mut bob = Caller::new(server.target(), "bob", "b");
        assert_eq!(alice.granted(3600), 3000);

        files.configure(&settings(300, 200));
        assert!(
            reload(&mut server)
                .starts_with("2 settings changed (registrar.expires_max, registrar.expires_min); ")
        );
        let left = alice.fetch()[0].1;
        assert!((2900..=3000).contains(&left), "what was granted stays granted: {left}");
        assert_eq!(bob.granted(3600), 300);
        let brief = bob.register(100);
        assert_eq!((brief.status, brief.header("min-expires")), (423, Some("200")));
        assert_eq!(alice.granted(3600), 300, "the next registration");
        server.stop();
    });
}

#[test]
fn the_command_line_holds_over_the_file_and_what_needs_a_start_is_named() {
    let files = Files::new("priority");
    files.configure("[registrar]\nexpires_max = 900\nexpires_spread = 0\n");
    files.subscribe("alice@example.com a\n");
    let Some(mut server) = files.start("1", &["--set", "SS_ENDPOINT_EXPIRE=500"]) else { return };
    let mut alice = Caller::new(server.target(), "alice", "a");
    assert_eq!(alice.granted(3600), 500);

    files.configure("[registrar]\nexpires_max = 800\nretry_after = 30\n");
    files.write(
        "aorta.toml",
        &(fs::read_to_string(files.0.join("aorta.toml")).expect("written")
            + "backend = \"uring\"\nreactors = 7\n"),
    );
    assert_eq!(
        reload(&mut server),
        "2 settings changed (registrar.expires_spread, registrar.retry_after); accounts: 0 added, \
         0 changed, 0 removed, 1 in all; holds from the next start only: serve.backend"
    );
    assert!((450..=500).contains(&alice.granted(3600)));
    server.stop();
}

/// Many more accounts than one order has, with somebody registering all the while.
#[test]
fn thousands_of_accounts_are_replaced_beside_the_traffic() {
    each(|reactors| {
        let files = Files::new(&format!("thousands-{reactors}"));
        let accounts = |numbers: std::ops::Range<u32>| {
            numbers.map(|n| format!("s{n}@example.com x{n}\n")).collect::<String>()
        };
        files.configure("");
        files.subscribe(&accounts(0..4000));
        let Some(mut server) = files.start(reactors, &[]) else { return };
        let target = server.target();
        let caller =
            |number: u32| Caller::new(target, &format!("s{number}"), &format!("x{number}"));
        for number in (0..4000).step_by(500) {
            assert_eq!(caller(number).register(600).status, 200);
        }

        files.subscribe(&accounts(1000..6000));
        server.process.signal("HUP");
        let mut busy = caller(2000);
        for _ in 0..50 {
            assert_eq!(busy.register(600).status, 200);
        }
        let said = server.process.wait_for(|line| line.contains("SIGHUP")).expect("it serves");
        assert!(said.contains("2000 added, 0 changed, 1000 removed, 5000 in all"), "{said}");
        for (number, status) in [(0, 401), (999, 401), (1000, 200), (3999, 200), (5999, 200)] {
            assert_eq!(caller(number).register(600).status, status, "s{number}");
        }
        let counters = server.stop();
        assert_eq!(counters.of("removed"), 2, "s0 and s500: {counters:?}");
    });
}

/// Where a phone may register, and which are behind NAT, by settings, network and account.
#[test]
fn what_speaks_for_nat_and_where_nobody_may_register_hold_at_the_built_server() {
    each(|reactors| {
        let files = Files::new(&format!("nat-{reactors}"));
        // Nobody is sent anything here that he has not asked for.
        let quiet = "\n[registrar]\nexpires_spread = 0\n[liveness]\ninterval = 0\n\
                     [nat]\nkeepalive_message = \"\"\n";
        files.configure(quiet);
        files.subscribe("alice@example.com a nat=never\nbob@example.com b\n");
        let Some(mut server) = files.start(reactors, &["--listen", "udp:0.0.0.0:0"]) else {
            return;
        };
        let (target, wildcard) = (server.targets[0], server.targets[1]);
        let mut alice = Caller::new(target, "alice", "a");
        let mut bob = Caller::new(target, "bob", "b");
        for caller in [&mut alice, &mut bob] {
            caller.phone.contact = "sip:phone@192.168.0.7:5060".into();
        }
        assert_eq!((alice.granted(3600), bob.granted(3600)), (3600, 300));

        let own = bob.wire.local().port();
        for (contact, refused) in [
            (format!("sip:b@{target}"), Some("Contact Is This Server")),
            (format!("sip:b@127.0.0.1:{}", wildcard.port()), Some("Contact Is This Server")),
            ("sip:b@224.0.1.75".into(), Some("Contact Is Multicast")),
            ("sip:b@255.255.255.255".into(), Some("Contact Is Broadcast")),
            (format!("sip:b@127.0.0.1:{own}"), None),
        ] {
            let contact = format!("<{contact}>");
            let response = bob.ask(&[("Contact", &contact), ("Expires", "600")]);
            let expected = refused.map_or((200, "OK"), |phrase| (403, phrase));
            assert_eq!((response.status, response.reason.as_str()), expected, "{contact}");
        }

        files.configure(&format!("{quiet}tests = []\n"));
        assert!(reload(&mut server).starts_with("1 settings changed (nat.tests)"));
        assert_eq!((alice.granted(3600), bob.granted(3600)), (3600, 3600));

        files.configure(&format!(
            "{quiet}tests = []\n[network.\"127.0.0.0/8\"]\nnat = \"always\"\n"
        ));
        let said = reload(&mut server);
        assert!(said.starts_with("1 settings changed (network.\"127.0.0.0/8\".nat)"), "{said}");
        assert_eq!((alice.granted(3600), bob.granted(3600)), (3600, 300));

        files.configure("SS_SIP_NAT_KEEP_ALIVE_PERIOD = 300\n");
        let said = reload(&mut server);
        let config = files.path("aorta.toml");
        assert_eq!(
            said,
            format!(
                "nothing changed: {config}:1: nat.keepalive_period: nat.keepalive_period (300 s, \
                 {config}:1) is not below registrar.nat_expires_max (300 s, default)"
            )
        );
        assert_eq!(bob.granted(3600), 300);
        let counters = server.stop();
        assert_eq!(counters.of("contact_own"), 2, "{counters:?}");
        assert_eq!(counters.of("contact_multicast"), 1);
        assert_eq!(counters.of("contact_broadcast"), 1);
    });
}
