//! What a client relies on when it is challenged: whether its password is doubted, which of several
//! challenges it may answer and how, and how long a nonce serves it.

use aorta::config::Auth;

use crate::agent::Agent;
use crate::common::cluster::Options;
use crate::common::{Challenge, Phone, hash};
use crate::desk::each_way;
use crate::link::each_link;
use crate::serve::{Server, Wire};
use crate::{challenges, registered};

const BOTH: &str = "auth.algorithms=SHA-256,MD5";

// --- stale --------------------------------------------------------------------------------------

#[test]
fn rfc7616_3_3_a_nonce_of_another_registrar_is_stale_and_the_user_is_not_asked() {
    let listen = ["--listen", "udp:127.0.0.1:0", "--reactors", "1"];
    let Some(sibling) = Server::start(&listen) else { return };
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 3, "a");
        let elsewhere = Wire::to(sibling.target());
        let challenge = elsewhere.ask(&agent.phone.register(600));
        assert!(agent.phone.take_challenge(&challenge));
        let response = agent.register(600);
        assert_eq!((response.status, agent.prompts), (200, 0));
        assert_eq!(agent.statuses, [401, 200], "one more round is all it costs");
    });
    sibling.stop();
}

#[test]
fn rfc7616_3_3_a_nonce_given_to_another_address_is_stale_and_the_user_is_not_asked() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 4, "a");
        let before = Wire::from("127.0.0.2:0", place.server.target());
        let challenge = before.ask(&agent.phone.register(600));
        assert!(agent.phone.take_challenge(&challenge));
        let response = agent.register(600);
        assert_eq!((response.status, agent.prompts), (200, 0));
        assert_eq!(agent.statuses, [401, 200]);
    });
}

#[test]
fn rfc7616_3_4_a_nonce_count_that_goes_back_is_stale_and_the_user_is_not_asked() {
    each_link(&[], |place| {
        let mut agent = registered(place, 5, "a");
        assert_eq!(agent.register(600).status, 200);
        // As after a crash that lost the count and kept the nonce.
        agent.phone.nc = 0;
        let response = agent.register(600);
        assert_eq!((response.status, agent.prompts), (200, 0));
        assert_eq!(agent.statuses, [401, 200, 200, 401, 200]);
    });
}

#[test]
fn rfc7616_3_3_a_wrong_password_is_not_stale_and_the_user_is_asked() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 6, "a");
        agent.phone.password = "mistyped".into();
        let response = agent.register(600);
        assert_eq!((response.status, agent.prompts), (401, 1));
        assert_eq!(agent.statuses, [401, 401]);
        let offered = challenges(&response);
        assert!(!offered.is_empty() && offered.iter().all(|challenge| !challenge.stale));
        // The user types it right: what he was given last is answered.
        agent.phone.password = format!("p{}", place.account(6));
        assert!(agent.phone.take_challenge(&response));
        assert_eq!(agent.register(600).status, 200);
    });
}

#[test]
fn rfc3261_22_1_a_client_that_never_learns_is_told_403_when_its_session_is_over() {
    each_link(&["SS_SIP_AUTHENTICATION_RETRY=2"], |place| {
        let mut agent = Agent::new(place, 7, "a");
        agent.phone.password = "mistyped".into();
        let mut response = agent.once(600);
        let mut statuses = vec![response.status];
        while response.status == 401 && statuses.len() < 10 {
            assert!(agent.phone.take_challenge(&response));
            response = agent.once(600);
            statuses.push(response.status);
        }
        // Two wrong answers are forgiven; the next ends it.
        assert_eq!(statuses.last(), Some(&403), "{statuses:?}");
        assert!((3..=4).contains(&statuses.len()), "{statuses:?}");
        assert!(response.header("www-authenticate").is_none());
        // A new session begins with a new challenge.
        agent.phone.challenge = None;
        agent.phone.password = format!("p{}", place.account(7));
        assert_eq!(agent.register(600).status, 200);
    });
}

// --- several challenges -------------------------------------------------------------------------

#[test]
fn rfc8760_2_4_the_first_challenge_a_client_knows_is_the_strongest_and_either_answer_is_taken() {
    each_link(&[BOTH], |place| {
        for (number, knows, chosen) in [
            (8, &["MD5"][..], "MD5"),
            (9, &["SHA-256"], "SHA-256"),
            (10, &["MD5", "SHA-256"], "SHA-256"),
        ] {
            let mut agent = Agent::new(place, number, "a");
            agent.knows = knows;
            assert_eq!(agent.register(600).status, 200, "{knows:?}");
            assert_eq!(agent.phone.challenge.as_ref().unwrap().algorithm, chosen);
        }
    });
}

#[test]
fn rfc8760_2_4_a_client_that_knows_no_algorithm_offered_gives_up_after_one_request() {
    each_link(&[BOTH], |place| {
        let mut agent = Agent::new(place, 11, "a");
        agent.knows = &["SHA-512-256"];
        let response = agent.register(600);
        assert_eq!((response.status, agent.statuses.len()), (401, 1));
        let offered: Vec<_> = challenges(&response).into_iter().map(|c| c.algorithm).collect();
        assert_eq!(offered, ["SHA-256", "MD5"]);
    });
}

#[test]
fn rfc8760_2_6_an_answer_with_an_algorithm_that_was_not_offered_is_challenged_anew() {
    each_link(&[BOTH], |place| {
        for (nth, algorithm) in ["SHA-512-256", "AKAv1-MD5", "MD5-sess"].iter().enumerate() {
            let mut agent = Agent::new(place, 12 + nth as u32, "a");
            let first = agent.once(600);
            let challenge = challenges(&first).remove(1);
            assert_eq!(challenge.algorithm, "MD5");
            let answer = agent.phone.credentials(&challenge, 1);
            let answer = answer.replace("algorithm=MD5", &format!("algorithm={algorithm}"));
            let contact = format!("<{}>", agent.phone.contact);
            let headers = [("Contact", contact.as_str()), ("Authorization", &answer)];
            let response = agent.once_with(&headers);
            assert_eq!(response.status, 401, "{algorithm}");
            // The client goes on with what it was offered.
            agent.knows = &["MD5"];
            assert_eq!(agent.register(600).status, 200, "{algorithm}");
        }
    });
}

#[test]
fn rfc7616_3_3_an_answer_that_leaves_the_algorithm_out_means_md5() {
    each_link(&[BOTH], |place| {
        let mut agent = Agent::new(place, 16, "a");
        let first = agent.once(600);
        let challenge = challenges(&first).remove(1);
        let answer = agent.phone.credentials(&challenge, 1).replace(" algorithm=MD5,", "");
        let contact = format!("<{}>", agent.phone.contact);
        let headers = [("Contact", contact.as_str()), ("Authorization", &answer)];
        assert_eq!(agent.once_with(&headers).status, 200);
    });
}

#[test]
fn rfc3261_22_3_credentials_for_other_realms_beside_the_right_ones_do_no_harm() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 17, "a");
        let first = agent.once(600);
        let challenge = challenges(&first).remove(0);
        let other = Challenge { realm: "proxy.test".into(), ..challenge.clone() };
        let (right, other) =
            (agent.phone.credentials(&challenge, 1), agent.phone.credentials(&other, 1));
        let contact = format!("<{}>", agent.phone.contact);
        let headers = [
            ("Authorization", other.as_str()),
            ("Proxy-Authorization", &other),
            ("Authorization", &right),
            ("Contact", &contact),
        ];
        assert_eq!(agent.once_with(&headers).status, 200);
    });
}

#[test]
fn rfc2617_3_2_2_an_answer_in_the_manner_of_rfc2069_is_taken() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 18, "a");
        let first = agent.once(600);
        let Challenge { realm, nonce, .. } = challenges(&first).remove(0);
        let Phone { user, password, contact, .. } = agent.phone.clone();
        let ha1 = hash("MD5", &format!("{user}:{realm}:{password}"));
        let ha2 = hash("MD5", "REGISTER:sip:example.com");
        let response = hash("MD5", &format!("{ha1}:{nonce}:{ha2}"));
        let answer = format!(
            "Digest username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",\
             uri=\"sip:example.com\",response=\"{response}\""
        );
        let contact = format!("<{contact}>");
        let headers = [("Contact", contact.as_str()), ("Authorization", &answer)];
        assert_eq!(agent.once_with(&headers).status, 200);
    });
}

#[test]
fn rfc7616_3_4_the_order_the_case_and_the_quoting_of_parameters_are_the_clients_own() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 19, "a");
        let first = agent.once(600);
        let challenge = challenges(&first).remove(0);
        let answer = agent.phone.credentials(&challenge, 1);
        let mut params: Vec<&str> = answer.strip_prefix("Digest ").unwrap().split(", ").collect();
        params.reverse();
        let shuffled = params
            .join(" ,\t")
            .replace("qop=auth", "QOP=\"auth\"")
            .replace("realm=", "Realm = ")
            .replace("nc=00000001", "Nc=00000001, opaque=\"\", x-vendor=\"a, b\"")
            .replace("algorithm=MD5", "algorithm=md5");
        let contact = format!("<{}>", agent.phone.contact);
        let answer = format!("dIGEST  {shuffled}");
        let headers = [("Contact", contact.as_str()), ("Authorization", &answer)];
        let response = agent.once_with(&headers);
        assert_eq!(response.status, 200, "{answer}");
    });
}

// --- nonces over time ---------------------------------------------------------------------------

#[test]
fn rfc7616_3_5_a_client_that_follows_nextnonce_is_never_challenged_again() {
    let auth = Auth { nonce_lifetime_s: 1000, ..Auth::default() };
    each_way(&Options { auth, ..Options::default() }, |desk| {
        let mut phone = desk.phone(3, "a");
        let mut renewed = 0;
        for _ in 0..20 {
            let response = desk.ask(&phone.register(600));
            assert_eq!(response.status, 200);
            let info = response.header("authentication-info").unwrap_or_default();
            if let Some(next) = info.split("nextnonce=\"").nth(1) {
                let next = next.split('"').next().unwrap().to_owned();
                let challenge = phone.challenge.as_mut().unwrap();
                assert_ne!(challenge.nonce, next);
                challenge.nonce = next;
                phone.nc = 0;
                renewed += 1;
            }
            desk.pass(300);
        }
        // 6000 seconds at one nonce for each half of a lifetime and the refresh that follows it.
        assert!((6..=12).contains(&renewed), "{renewed}");
    });
}

#[test]
fn rfc7616_3_3_a_client_that_knows_no_nextnonce_pays_one_round_for_each_lifetime() {
    let auth = Auth { nonce_lifetime_s: 1000, ..Auth::default() };
    each_way(&Options { auth, ..Options::default() }, |desk| {
        let mut phone = desk.phone(3, "a");
        let mut stale = 0;
        for _ in 0..20 {
            let mut response = desk.ask(&phone.register(600));
            if response.status == 401 {
                assert!(phone.take_challenge(&response));
                assert!(phone.challenge.as_ref().unwrap().stale);
                stale += 1;
                response = desk.ask(&phone.register(600));
            }
            assert_eq!(response.status, 200);
            desk.pass(300);
        }
        assert!((4..=6).contains(&stale), "{stale}");
    });
}
