//! Operators at the built server, by nothing but HTTP: the first password, logins and what stops
//! guesses, roles, tokens, forged requests, and the audit that says it all.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

#[path = "common/certificate.rs"]
mod certificate;
mod common;
#[path = "common/http.rs"]
mod http;
#[path = "operators/office.rs"]
mod office;
#[path = "common/serve.rs"]
mod serve;
#[path = "operators/settings.rs"]
mod settings;

use std::fs;
use std::process::{Command, Output};

use office::{Login, Office, PASSWORD, SESSION, Scratch, bearer};
use serde_json::{Value, json};

const OPERATORS: &str = "/api/v1/operators";

#[test]
fn the_first_password_is_set_with_the_code_and_closes_the_door_behind_it() {
    let data = Scratch::new("first");
    let Some(mut office) = Office::open(&data, &[]) else { return };
    let setup = |office: &Office, code: &str, headers: &str, password: &str| {
        let body = json!({"code": code, "name": "Root", "password": password});
        office.ask("POST", "/api/v1/setup", headers, &body)
    };
    // Before, whoever is on this host may look, and may not make what outlasts that.
    assert_eq!(office.ask("GET", "/api/v1/setup", "", &Value::Null).good()["needed"], true);
    office.ask("GET", "/api/v1/registrations", "", &Value::Null).good();
    let body = json!({"name": "x", "role": "admin", "password": PASSWORD});
    office.ask("POST", OPERATORS, "", &body).problem(403);
    let body = json!({"name": "x", "role": "admin"});
    office.ask("POST", "/api/v1/tokens", "", &body).problem(403);
    // Not without the code, not under another name of this host, not with a bad password.
    let code = office.code();
    setup(&office, "", "", PASSWORD).problem(400);
    setup(&office, "0000-0000-0000-0000", "", PASSWORD).problem(400);
    setup(&office, &code, "Host: attacker.example\r\n", PASSWORD).problem(403);
    setup(&office, &code, "Origin: http://attacker.example\r\n", PASSWORD).problem(403);
    for bad in ["short", "password1234", "root-root-root", "aaaaaaaaaaaaaaaa"] {
        let said = setup(&office, &code, "", bad).problem(400);
        assert!(said.starts_with("password: "), "{said}");
    }
    let login = Login::of(&setup(&office, &code.to_lowercase(), "", PASSWORD));
    // From now on nobody comes in by being here, and the code is spent.
    setup(&office, &code, "", PASSWORD).problem(409);
    office.ask("GET", "/api/v1/registrations", "", &Value::Null).problem(401);
    office.ask("GET", "/metrics", "", &Value::Null).problem(401);
    let who = office.ask("GET", SESSION, &login.cookie, &Value::Null).good();
    assert_eq!(
        (&who["name"], &who["role"], &who["via"]),
        (&"root".into(), &"admin".into(), &"session".into())
    );
    // A browser is sent to the login, a program is told.
    let page = office.ask("GET", "/?a=b", "Accept: text/html\r\n", &Value::Null);
    assert_eq!((page.status, page.header("location")), (303, Some("/login?next=%2F%3Fa%3Db")));
    office.stop();
    // The next process knows the password, and no session.
    let Some(office) = Office::open(&data, &[]) else { return };
    assert!(!office.process.err.iter().any(|line| line.contains("with the code")));
    office.ask("GET", SESSION, &login.cookie, &Value::Null).problem(401);
    Login::of(&office.log_in("ROOT", PASSWORD));
    let kept = fs::read_to_string(data.0.join("operators.json")).unwrap();
    assert!(kept.contains("$argon2id$v=19$m=19456,t=2,p=1$") && !kept.contains(PASSWORD));
    office.stop();
}

#[test]
fn too_many_wrong_codes_make_another_code() {
    let data = Scratch::new("codes");
    let Some(mut office) = Office::open(&data, &[]) else { return };
    let first = office.code();
    let wrong = json!({"code": "x", "name": "root", "password": PASSWORD});
    for _ in 0..10 {
        office.ask("POST", "/api/v1/setup", "", &wrong).problem(400);
    }
    let is_another = |line: &str| line.contains(" with the code ") && !line.contains(&first);
    office.process.wait_for(is_another).expect("another code");
    let body = json!({"code": first, "name": "root", "password": PASSWORD});
    office.ask("POST", "/api/v1/setup", "", &body).problem(400);
    office.set_up();
    office.stop();
}

#[test]
fn a_session_is_new_at_each_login_and_ends_at_logout_and_with_the_password() {
    let data = Scratch::new("sessions");
    let Some(mut office) = Office::open(&data, &[]) else { return };
    let first = office.set_up();
    // A secret that somebody put into the browser is not gone on with.
    let planted = format!("Cookie: aorta={}\r\n", "0".repeat(64));
    let body = json!({"name": "root", "password": PASSWORD});
    let answer = office.ask("POST", SESSION, &planted, &body);
    assert!(!answer.header("set-cookie").unwrap().contains("00000000"));
    // A login over a session ends that one.
    let second = Login::of(&office.ask("POST", SESSION, &first.cookie, &body));
    assert_ne!(first.cookie, second.cookie);
    office.ask("GET", SESSION, &first.cookie, &Value::Null).problem(401);
    let third = Login::of(&office.log_in("root", PASSWORD));
    let gone = office.ask("DELETE", SESSION, &third.both(), &Value::Null);
    assert_eq!(gone.good()["ended"], true);
    assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"));
    office.ask("GET", SESSION, &third.cookie, &Value::Null).problem(401);
    // Another password ends them all but the one it was changed in, which has another secret.
    let other = Login::of(&office.log_in("root", PASSWORD));
    let path = "/api/v1/session/password";
    let change = |old: &str, new: &str| {
        office.ask("PUT", path, &second.both(), &json!({"old": old, "new": new}))
    };
    change("wrong", "another horse battery").problem(400);
    change(PASSWORD, "short").problem(400);
    let new = Login::of(&change(PASSWORD, "another horse battery"));
    for ended in [&second, &other] {
        office.ask("GET", SESSION, &ended.cookie, &Value::Null).problem(401);
    }
    office.ask("GET", SESSION, &new.cookie, &Value::Null).good();
    office.log_in("root", PASSWORD).problem(401);
    Login::of(&office.log_in("root", "another horse battery"));
    office.stop();
}

#[test]
fn what_a_page_of_somebody_else_begins_changes_nothing() {
    let data = Scratch::new("forged");
    let Some(mut office) = Office::open(&data, &[]) else { return };
    // Before there is an operator, a page in somebody's browser here is not meant either.
    let trace = "/api/v1/trace?seconds=1";
    let cross = "Sec-Fetch-Site: cross-site\r\n";
    office.ask_text("POST", trace, cross, "").problem(403);
    let login = office.set_up();
    let block = "/api/v1/blacklist/192.0.2.7";
    for headers in [
        login.cookie.clone(),
        format!("{}X-CSRF-Token: \r\n", login.cookie),
        format!("{}X-CSRF-Token: {}\r\n", login.cookie, "0".repeat(64)),
        format!("{}{cross}", login.both()),
        format!("{}Sec-Fetch-Site: same-site\r\n", login.both()),
        format!("{}Origin: http://attacker.example\r\n", login.both()),
        format!("{}Origin: null\r\n", login.both()),
    ] {
        office.ask_text("PUT", block, &headers, "").problem(403);
    }
    let items = office.ask("GET", "/api/v1/blacklist", &login.cookie, &Value::Null).good();
    assert_eq!(items["items"], json!([]));
    // A form shows the same in a field, once.
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let csrf = login.csrf.trim_start_matches("X-CSRF-Token: ").trim();
    let with_form = format!("{}{form}", login.cookie);
    for body in
        ["", "csrf=", "csrf=0", &format!("csrf={csrf}&csrf={csrf}"), &format!("Csrf={csrf}")]
    {
        office.ask_text("PUT", block, &with_form, body).problem(403);
    }
    let long = format!("csrf={csrf}&x={}", "x".repeat(100_000));
    office.ask_text("PUT", block, &with_form, &long).problem(413);
    assert_eq!(office.ask_text("PUT", block, &with_form, &format!("a=b&csrf={csrf}")).status, 200);
    let ours = format!(
        "{}Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n",
        login.both(),
        office.http
    );
    assert_eq!(office.ask_text("DELETE", block, &ours, "").status, 200);
    // A login that another page begins is none.
    let body = json!({"name": "root", "password": PASSWORD}).to_string();
    let json = "Content-Type: application/json\r\n";
    office.ask_text("POST", SESSION, &format!("{json}{cross}"), &body).problem(403);
    office.ask_text("POST", SESSION, "Content-Type: text/plain\r\n", &body).problem(415);
    // A token is shown by nobody's browser.
    let made = json!({"name": "ci", "role": "operate"});
    let made = office.ask("POST", "/api/v1/tokens", &login.both(), &made).good();
    let token = bearer(made["token"].as_str().unwrap());
    assert_eq!(office.ask_text("PUT", block, &format!("{token}{cross}"), "").status, 200);
    office.stop();
}

#[test]
fn who_guesses_waits_and_says_nothing_about_who_there_is() {
    let data = Scratch::new("guesses");
    let Some(mut office) = Office::open(&data, &["--set", "admin.login_failures=3"]) else {
        return;
    };
    let login = office.set_up();
    let body = json!({"name": "bob", "role": "read", "password": PASSWORD});
    office.ask("POST", OPERATORS, &login.both(), &body).good();
    let said: Vec<String> = ["root", "nobody-of-that-name", ""]
        .iter()
        .map(|name| office.log_in(name, "wrong wrong wrong").problem(401))
        .collect();
    assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
    office.log_in("root", "wrong").problem(401);
    office.log_in("root", "wrong").problem(401);
    // Also with the right one now, and no session begins.
    let locked = office.log_in("root", PASSWORD);
    locked.problem(429);
    let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=15).contains(&wait), "{wait}");
    assert!(locked.header("set-cookie").is_none());
    // Others come in, and who is in stays in.
    Login::of(&office.log_in("bob", PASSWORD));
    office.ask("GET", SESSION, &login.cookie, &Value::Null).good();
    // A disabled operator is answered as one who does not exist, and is out at once.
    let bob = Login::of(&office.log_in("bob", PASSWORD));
    let path = format!("{OPERATORS}/bob");
    office.ask("PATCH", &path, &login.both(), &json!({"disabled": true})).good();
    office.ask("GET", SESSION, &bob.cookie, &Value::Null).problem(401);
    assert_eq!(office.log_in("bob", PASSWORD).problem(401), said[0]);
    // What is no login at all.
    office.ask("POST", SESSION, "", &json!({"name": "root"})).problem(400);
    office.ask("POST", SESSION, "", &json!({"name": 1, "password": {}})).problem(400);
    office.ask("POST", SESSION, "", &json!([])).problem(400);
    office.stop();
}

#[test]
fn operators_and_tokens_are_managed_and_the_last_admin_stays() {
    let data = Scratch::new("managed");
    let Some(mut office) = Office::open(&data, &[]) else { return };
    let root = office.set_up();
    let ask = |method: &str, path: &str, body: Value| office.ask(method, path, &root.both(), &body);
    let add = |name: &str, role: &str| {
        ask("POST", OPERATORS, json!({"name": name, "role": role, "password": PASSWORD}))
    };
    add("Bob", "operate").good();
    add("bob", "read").problem(409);
    for (name, role) in [("", "read"), ("a b", "read"), ("loopback", "read"), ("c", "root")] {
        add(name, role).problem(400);
    }
    let bob = Login::of(&office.log_in("bob", PASSWORD));
    // An operator acts and does not manage.
    let block = "/api/v1/blacklist/192.0.2.9";
    assert_eq!(office.ask("PUT", block, &bob.both(), &Value::Null).status, 200);
    office.ask("GET", OPERATORS, &bob.both(), &Value::Null).problem(403);
    office.ask("GET", "/api/v1/audit", &bob.both(), &Value::Null).problem(403);
    // A change of role holds at once, in sessions there are.
    let path = format!("{OPERATORS}/BOB");
    ask("PATCH", &path, json!({"role": "read"})).good();
    office.ask("PUT", block, &bob.both(), &Value::Null).problem(403);
    ask("PATCH", &path, json!({"password": "another horse battery"})).good();
    office.ask("GET", SESSION, &bob.cookie, &Value::Null).problem(401);
    ask("PATCH", &path, json!({})).problem(400);
    ask("PATCH", &path, json!({"role": "read", "disabled": true})).problem(400);
    ask("PATCH", &format!("{OPERATORS}/carol"), json!({"role": "read"})).problem(404);
    // Somebody must be left.
    let own = format!("{OPERATORS}/root");
    ask("DELETE", &own, Value::Null).problem(409);
    ask("PATCH", &own, json!({"disabled": true})).problem(409);
    ask("PATCH", &own, json!({"role": "operate"})).problem(409);
    let listed = ask("GET", OPERATORS, Value::Null);
    assert!(!listed.body.contains("argon2"), "{}", listed.body);
    assert_eq!(listed.good()["items"].as_array().unwrap().len(), 2);
    ask("DELETE", &path, Value::Null).good();
    // A token opens until it is revoked, with its role; its text is shown once.
    let made =
        ask("POST", "/api/v1/tokens", json!({"name": "ci", "role": "read", "expires_s": 3600}));
    let token = made.good()["token"].as_str().unwrap().to_owned();
    let by_token =
        |method: &str, path: &str| office.ask(method, path, &bearer(&token), &Value::Null);
    by_token("GET", "/metrics");
    assert_eq!(by_token("GET", SESSION).good()["name"], "token:ci");
    by_token("PUT", block).problem(403);
    let listed = ask("GET", "/api/v1/tokens", Value::Null);
    assert!(!listed.body.contains(&token));
    assert!(listed.good()["items"][0]["used_at"].is_string());
    ask("POST", "/api/v1/tokens", json!({"name": "x", "role": "read", "expires_s": 0}))
        .problem(400);
    ask("DELETE", "/api/v1/tokens/ci", Value::Null).good();
    ask("DELETE", "/api/v1/tokens/ci", Value::Null).problem(404);
    by_token("GET", SESSION).problem(401);
    office.stop();
}

fn verify(arguments: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aorta"));
    command.args(["audit", "verify"]).args(arguments).output().expect("it was built")
}

#[test]
fn the_audit_says_who_did_what_and_shows_whoever_touches_it() {
    let data = Scratch::new("audit");
    let Some(mut office) = Office::open(&data, &[]) else { return };
    let root = office.set_up();
    let block = "/api/v1/blacklist/192.0.2.9?seconds=60";
    office.ask("PUT", block, &root.both(), &Value::Null).good();
    for _ in 0..20 {
        office.log_in("root", "wrong");
    }
    office.ask("PUT", block, &root.cookie, &Value::Null).problem(403);
    let listed = |query: &str| {
        let path = format!("/api/v1/audit?{query}");
        office.ask("GET", &path, &root.cookie, &Value::Null).good()
    };
    // What was done is on the disk a moment later.
    let has_block = (0..10_000).any(|_| listed("action=block")["items"] != json!([]));
    assert!(has_block);
    let block = listed("action=block")["items"][0].clone();
    assert_eq!((&block["operator"], &block["role"]), (&"root".into(), &"admin".into()));
    assert_eq!((&block["target"], &block["detail"]), (&"192.0.2.9".into(), &"for 60 s".into()));
    assert_eq!((&block["via"], &block["outcome"]), (&"session".into(), &"done".into()));
    let refused = listed("action=login&outcome=refused")["items"].as_array().unwrap().len();
    assert_eq!(refused, 1, "a guesser fills no disk");
    let page = listed("limit=1");
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let before = page["next"].as_str().unwrap();
    assert_ne!(listed(&format!("limit=1&cursor={before}"))["items"], page["items"]);
    office.stop();
    let file = data.0.join("audit").join("audit.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("19 times more from 127.0.0.1"), "{text}");
    assert!(!text.contains(PASSWORD) && !text.contains("wrong"), "{text}");
    let path = file.display().to_string();
    let good = verify(std::slice::from_ref(&path));
    assert!(good.status.success(), "{good:?}");
    let lines = text.lines().count();
    assert!(String::from_utf8_lossy(&good.stdout).contains(&format!("{lines} lines")), "{good:?}");
    fs::write(&file, text.replacen("192.0.2.9", "192.0.2.8", 1)).unwrap();
    let number = text.lines().position(|line| line.contains("192.0.2.9")).unwrap() + 1;
    let bad = verify(std::slice::from_ref(&path));
    assert_eq!(bad.status.code(), Some(1));
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(said.contains(&format!("audit.jsonl:{number}: ")), "{said}");
    // The next process goes on behind it all the same.
    fs::write(&file, &text).unwrap();
    let Some(office) = Office::open(&data, &[]) else { return };
    Login::of(&office.log_in("root", PASSWORD));
    office.stop();
    assert!(verify(&[path]).status.success());
}
