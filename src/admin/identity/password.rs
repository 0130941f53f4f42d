//! Passwords: which are taken, and their argon2id hashes, made and compared beside the thread that
//! answers, a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Memory of one hash, KiB; passes over it; lanes. What OWASP asks of argon2id at least.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes at a time: 38 MiB together, and no more than two CPUs.
const AT_A_TIME: usize = 2;
/// Who waits for their turn; the next one is told to come again.
const WAITING_MAX: usize = 32;
/// Longest password, bytes.
pub(super) const BYTES_MAX: usize = 256;
/// Characters that must differ from each other.
const DIFFERENT_MIN: usize = 5;

/// What people choose who must choose something long.
const COMMON: [&str; 40] = [
    "123456789012",
    "1234567890123",
    "12345678901234",
    "123123123123",
    "111222333444",
    "password",
    "password1",
    "password12",
    "password123",
    "password1234",
    "password12345",
    "passwordpassword",
    "password!",
    "passw0rd",
    "passw0rd1234",
    "p@ssw0rd",
    "p@ssw0rd1234",
    "p@ssword1234",
    "qwertyuiop",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwerty123456",
    "1qaz2wsx3edc",
    "1q2w3e4r5t6y",
    "zaq12wsxcde3",
    "asdfghjkl123",
    "letmeinletmein",
    "letmein12345",
    "welcome12345",
    "welcome123456",
    "administrator",
    "administrator1",
    "admin123456789",
    "adminadminadmin",
    "changeme1234",
    "changemenow1",
    "iloveyou1234",
    "abcdefghijkl",
    "abcdef123456",
    "kamailio12345",
];

/// Why a password is not taken, for whoever chose it.
pub(super) fn objection(password: &str, name: &str, chars_min: u32) -> Option<String> {
    let lower = password.to_lowercase();
    let chars = password.chars().count();
    let mut different: Vec<char> = lower.chars().collect();
    different.sort_unstable();
    different.dedup();
    let plain = lower.trim_end_matches(|c: char| c.is_ascii_punctuation());
    if chars < usize::try_from(chars_min).unwrap_or(usize::MAX) {
        Some(format!("it is shorter than {chars_min} characters"))
    } else if password.len() > BYTES_MAX {
        Some(format!("it is longer than {BYTES_MAX} bytes"))
    } else if password.chars().any(char::is_control) {
        Some("it has a control character in it".to_owned())
    } else if lower.contains(name) && chars < name.chars().count() + 8 {
        Some("it is little more than the name".to_owned())
    } else if different.len() < DIFFERENT_MIN {
        Some(format!("it has fewer than {DIFFERENT_MIN} different characters"))
    } else if COMMON.contains(&lower.as_str()) || COMMON.contains(&plain) {
        Some("it is one of those that are tried first".to_owned())
    } else {
        None
    }
}

/// Nothing was made or compared, because there is too much of it to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// Makes and compares hashes.
pub(super) struct Hasher {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Of no password: what an unknown name is compared with, so that it takes as long.
    nobody: Arc<str>,
}

impl Hasher {
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn new() -> Result<Hasher, String> {
        let mut noise = [0; 32];
        getrandom::fill(&mut noise).map_err(|error| error.to_string())?;
        let nobody = hash(&noise)?.into();
        Ok(Hasher {
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            waiting: AtomicUsize::new(0),
            nobody,
        })
    }

    /// The hash of a password, as a PHC string with its salt and its costs.
    pub async fn hash(&self, password: String) -> Result<Result<String, String>, Busy> {
        self.in_turn(move || hash(password.as_bytes())).await
    }

    /// Whether it is the password of that hash; without one it takes as long and is not.
    pub async fn is(&self, password: String, of: Option<Arc<str>>) -> Result<bool, Busy> {
        let known = of.is_some();
        let of = of.unwrap_or_else(|| Arc::clone(&self.nobody));
        self.in_turn(move || verify(password.as_bytes(), &of) && known).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let _waits = Waits::new(&self.waiting).ok_or(Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Busy)?;
        let done = spawn_blocking(move || {
            // Kept to the end, also where whoever asked has gone.
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| Busy)
    }
}

/// One of those who wait.
struct Waits<'a>(&'a AtomicUsize);

impl Waits<'_> {
    fn new(waiting: &AtomicUsize) -> Option<Waits<'_>> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let one = Waits(waiting);
        (before < WAITING_MAX).then_some(one)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn argon2() -> Result<Argon2<'static>, String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<String, String> {
    let hash = argon2()?.hash_password(password).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

/// By the costs that stand in the hash.
fn verify(password: &[u8], of: &str) -> bool {
    let (Ok(argon2), Ok(of)) = (argon2(), PasswordHash::new(of)) else { return false };
    argon2.verify_password(password, &of).is_ok()
}

/// Whether a text is a hash that can be compared with.
pub(super) fn is_hash(text: &str) -> bool {
    text.starts_with("$argon2id$") && PasswordHash::new(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_is_the_password_and_each_hash_has_its_own_salt() {
        let (one, two) = (hash(b"correct horse").unwrap(), hash(b"correct horse").unwrap());
        assert_ne!(one, two);
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(is_hash(&one) && !is_hash("x") && !is_hash("$argon2id$"));
        assert!(verify(b"correct horse", &one) && verify(b"correct horse", &two));
        assert!(!verify(b"correct hors", &one) && !verify(b"", &one) && !verify(b"x", "x"));
    }

    #[test]
    fn what_is_short_common_or_the_name_is_not_taken() {
        for (password, word) in [
            ("short", "shorter than 12"),
            ("elevenchars", "shorter than 12"),
            ("aaaaaaaaaaaaaaaa", "different"),
            ("abababababab", "different"),
            ("Password1234", "tried first"),
            ("Password1234!!!", "tried first"),
            ("alice-alice1", "the name"),
            ("correct\nhorse battery", "control"),
        ] {
            let said = objection(password, "alice", 12).unwrap_or_default();
            assert!(said.contains(word), "{password:?}: {said}");
        }
        let long = "correct horse ".repeat(30);
        assert!(objection(&long, "alice", 12).is_some_and(|said| said.contains("longer")));
        for good in
            ["correct horse battery", "\u{fc}ber\u{fc}ber-k\u{f6}nig", "alice in the wonderland"]
        {
            assert_eq!(objection(good, "alice", 12), None, "{good}");
        }
    }

    #[test]
    fn a_flood_waits_in_a_short_line_and_the_rest_is_sent_away() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let hasher = Arc::new(Hasher::new().unwrap());
            let all = (0..WAITING_MAX + 20).map(|_| {
                let hasher = Arc::clone(&hasher);
                tokio::spawn(async move { hasher.in_turn(|| ()).await })
            });
            let mut busy = 0;
            for one in all.collect::<Vec<_>>() {
                busy += usize::from(one.await.unwrap() == Err(Busy));
            }
            assert_eq!(busy, 20);
            assert_eq!(hasher.in_turn(|| 7).await, Ok(7), "the line is empty again");
        });
    }
}
