//! Who is logged in: sessions in memory, found by the hash of the secret that the browser keeps. A
//! restart ends them all.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::secret::Secret;

/// Sessions of everybody; over it the one that was idle longest ends.
const SESSIONS_MAX: usize = 1024;
/// Sessions of one operator.
const PER_OPERATOR_MAX: usize = 16;

/// How a session is found.
pub(in crate::admin) type SessionId = [u8; 32];

#[derive(Clone, Debug)]
struct Session {
    name: Arc<str>,
    began_s: u64,
    last_s: u64,
}

/// How long sessions last, seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasting {
    pub idle_s: u64,
    pub whole_s: u64,
}

/// Everybody's.
#[derive(Default)]
pub(super) struct Sessions {
    all: HashMap<SessionId, Session>,
}

impl Sessions {
    /// Begins one for an operator.
    pub fn begin(&mut self, now_s: u64, lasting: Lasting, name: &Arc<str>, secret: &Secret) {
        self.all.retain(|_, session| session.lasts(now_s, lasting));
        let of_name = |session: &Session| session.name == *name;
        if self.all.values().filter(|session| of_name(session)).count() >= PER_OPERATOR_MAX {
            self.end_longest_idle(of_name);
        }
        if self.all.len() >= SESSIONS_MAX {
            self.end_longest_idle(|_| true);
        }
        let session = Session { name: Arc::clone(name), began_s: now_s, last_s: now_s };
        self.all.insert(id_of(secret.text()), session);
    }

    /// Whose session it is that a browser shows the secret of.
    pub fn touch(
        &mut self,
        now_s: u64,
        lasting: Lasting,
        shown: &str,
    ) -> Option<(SessionId, Arc<str>)> {
        let id = id_of(shown);
        let session = self.all.get_mut(&id)?;
        if !session.lasts(now_s, lasting) {
            self.all.remove(&id);
            return None;
        }
        session.last_s = session.last_s.max(now_s);
        Some((id, Arc::clone(&session.name)))
    }

    /// Ends one.
    pub fn end(&mut self, id: &SessionId) {
        self.all.remove(id);
    }

    /// Ends all of an operator. Returns how many there were.
    pub fn end_all_of(&mut self, name: &str) -> usize {
        let before = self.all.len();
        self.all.retain(|_, session| &*session.name != name);
        before - self.all.len()
    }

    /// How many an operator has.
    pub fn count_of(&self, now_s: u64, lasting: Lasting, name: &str) -> usize {
        let of_name = |session: &&Session| &*session.name == name && session.lasts(now_s, lasting);
        self.all.values().filter(of_name).count()
    }

    fn end_longest_idle(&mut self, among: impl Fn(&Session) -> bool) {
        let among = self.all.iter().filter(|(_, session)| among(session));
        if let Some(id) = among.min_by_key(|(_, session)| session.last_s).map(|(id, _)| *id) {
            self.all.remove(&id);
        }
    }
}

impl Session {
    /// A clock that was set back ends nothing.
    fn lasts(&self, now_s: u64, lasting: Lasting) -> bool {
        now_s.saturating_sub(self.last_s) <= lasting.idle_s
            && now_s.saturating_sub(self.began_s) <= lasting.whole_s
    }
}

fn id_of(secret: &str) -> SessionId {
    Sha256::digest(secret.as_bytes()).into()
}

/// What forms and scripts of a session show beside its cookie. A page of somebody else can have the
/// cookie sent, and cannot know this.
pub(super) fn csrf_of(secret: &str) -> String {
    let mut hash = Sha256::new_with_prefix(b"aorta csrf ");
    hash.update(secret.as_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether that was shown.
pub(in crate::admin) fn is_csrf(expected: &str, shown: &[u8]) -> bool {
    expected.as_bytes().ct_eq(shown).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTING: Lasting = Lasting { idle_s: 100, whole_s: 1000 };

    fn alice() -> Arc<str> {
        "alice".into()
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
        let mut sessions = Sessions::default();
        let secret = Secret::new().unwrap();
        sessions.begin(5, LASTING, &alice(), &secret);
        assert!(sessions.touch(105, LASTING, secret.text()).is_some());
        assert!(sessions.touch(205, LASTING, secret.text()).is_some(), "each request counts");
        assert!(sessions.touch(306, LASTING, secret.text()).is_none(), "it was idle");
        assert!(sessions.touch(205, LASTING, secret.text()).is_none(), "and does not come back");
        sessions.begin(0, LASTING, &alice(), &secret);
        for now in (0..=1000).step_by(50) {
            assert!(sessions.touch(now, LASTING, secret.text()).is_some(), "{now}");
        }
        assert!(sessions.touch(1001, LASTING, secret.text()).is_none(), "it is old");
    }

    #[test]
    fn nobody_has_a_session_by_a_secret_of_their_own_making() {
        let mut sessions = Sessions::default();
        let secret = Secret::new().unwrap();
        sessions.begin(5, LASTING, &alice(), &secret);
        for shown in ["", "x", &secret.text()[1..], &csrf_of(secret.text())] {
            assert!(sessions.touch(5, LASTING, shown).is_none());
        }
        let hash: String = id_of(secret.text()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(sessions.touch(5, LASTING, &hash).is_none(), "what is kept opens nothing");
    }

    #[test]
    fn there_are_only_so_many_and_the_longest_idle_goes() {
        let mut sessions = Sessions::default();
        let secrets: Vec<Secret> = (0..40).map(|_| Secret::new().unwrap()).collect();
        for (now, secret) in secrets.iter().enumerate() {
            sessions.begin(now as u64, LASTING, &alice(), secret);
        }
        assert_eq!(sessions.count_of(40, LASTING, "alice"), PER_OPERATOR_MAX);
        assert!(sessions.touch(40, LASTING, secrets[0].text()).is_none());
        assert!(sessions.touch(40, LASTING, secrets[39].text()).is_some());
        for n in 0..2 * SESSIONS_MAX {
            sessions.begin(41, LASTING, &format!("n{n}").into(), &Secret::new().unwrap());
        }
        assert_eq!(sessions.all.len(), SESSIONS_MAX);
        assert_eq!(sessions.end_all_of("alice"), 0);
    }
}
