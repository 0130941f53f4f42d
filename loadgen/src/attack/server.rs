//! What the server says of itself: its metrics over the admin interface, its memory and CPU time as
//! the kernel accounts them. HTTP is spoken by hand: one request on a connection of its own.

use crate::options::Error;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest that the admin interface may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// The server as it can be asked.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// Its admin interface.
    pub admin: Option<SocketAddr>,
    /// What opens that.
    pub token: Option<String>,
    /// Its process on this host.
    pub pid: Option<u32>,
}

/// Every metric with its labels, but for those that say which thread counted it: they are added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics(BTreeMap<String, u64>);

impl Server {
    /// What it has counted, where it can be asked.
    pub fn metrics(&self) -> Result<Option<Metrics>, Error> {
        let Some(admin) = self.admin else { return Ok(None) };
        Ok(Some(Metrics::parse(&self.ask(admin, "GET", "/metrics")?)))
    }

    /// Has a source blocked; nothing where it cannot be asked.
    pub fn block(&self, source: std::net::IpAddr) -> Result<(), Error> {
        self.order("PUT", source)
    }

    /// Has that lifted.
    pub fn lift(&self, source: std::net::IpAddr) -> Result<(), Error> {
        self.order("DELETE", source)
    }

    fn order(&self, method: &str, source: std::net::IpAddr) -> Result<(), Error> {
        let Some(admin) = self.admin else { return Ok(()) };
        self.ask(admin, method, &format!("/api/v1/blacklist/{source}")).map(|_| ())
    }

    fn ask(&self, admin: SocketAddr, method: &str, path: &str) -> Result<String, Error> {
        self.asked(admin, method, path).map_err(|error| Error::System {
            operation: format!("{method} http://{admin}{path}"),
            error,
            remedy: "check --admin and --admin-token, and whether the server has such an interface",
        })
    }

    fn asked(&self, admin: SocketAddr, method: &str, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let token = match &self.token {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {admin}\r\n{token}Content-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        let (head, body) =
            answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no HTTP answer"))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        match status.starts_with('2') {
            true => Ok(body.to_owned()),
            false => Err(io::Error::other(format!("HTTP status {status}"))),
        }
    }

    /// Bytes of memory its process has resident, where that is known.
    pub fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib << 10)
    }

    /// Nanoseconds of CPU time that the threads of its process have had, where that is known.
    pub fn cpu(&self) -> Option<u64> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid?)).ok()?;
        let mut sum = 0;
        for thread in threads {
            let path = thread.ok()?.path().join("schedstat");
            let text = std::fs::read_to_string(path).ok()?;
            sum += text.split_whitespace().next()?.parse::<u64>().ok()?;
        }
        Some(sum)
    }
}

impl Metrics {
    /// Reads Prometheus' text format.
    pub fn parse(text: &str) -> Metrics {
        let mut all = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<u64>() else { continue };
            let (family, labels) = name.split_once('{').unwrap_or((name, ""));
            let labels = labels.trim_end_matches('}').split(',');
            let labels: Vec<&str> = labels
                .filter(|label| !label.starts_with("shard=") && !label.starts_with("reactor="))
                .filter(|label| !label.is_empty())
                .collect();
            let key = match labels.is_empty() {
                true => family.to_owned(),
                false => format!("{family}{{{}}}", labels.join(",")),
            };
            *all.entry(key).or_insert(0) += value;
        }
        Metrics(all)
    }

    /// One of them; 0 where there is none.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// By how much one has grown since an earlier look.
    pub fn since(&self, before: &Metrics, name: &str) -> u64 {
        self.of(name).saturating_sub(before.of(name))
    }

    /// What has grown of this family since, by its labels.
    pub fn grown(&self, before: &Metrics, family: &str) -> BTreeMap<String, u64> {
        let of_family = |name: &&String| name.starts_with(family);
        self.0
            .keys()
            .filter(of_family)
            .map(|name| (name.trim_start_matches(family).to_owned(), self.since(before, name)))
            .filter(|(_, count)| *count > 0)
            .map(|(labels, count)| {
                let value = labels.split('"').nth(1).unwrap_or(&labels).to_owned();
                (value, count)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP aorta_x_total What.\n# TYPE aorta_x_total counter\n\
                        aorta_x_total{shard=\"0\"} 3\naorta_x_total{shard=\"1\"} 4\n\
                        aorta_not_answered_total{shard=\"0\",reason=\"scanner\"} 5\n\
                        aorta_not_answered_total{shard=\"1\",reason=\"scanner\"} 1\n\
                        aorta_not_answered_total{shard=\"1\",reason=\"stun\"} 2\n\
                        aorta_up 1\naorta_seconds 0.5\n";

    #[test]
    fn what_threads_count_is_added_up() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!((metrics.of("aorta_x_total"), metrics.of("aorta_up")), (7, 1));
        assert_eq!(metrics.of("aorta_not_answered_total{reason=\"scanner\"}"), 6);
        assert_eq!(metrics.of("aorta_seconds"), 0, "no count");
    }

    #[test]
    fn growth_is_told_by_label() {
        let before = Metrics::parse("aorta_not_answered_total{shard=\"1\",reason=\"stun\"} 2\n");
        let grown = Metrics::parse(TEXT).grown(&before, "aorta_not_answered_total");
        assert_eq!(grown.into_iter().collect::<Vec<_>>(), [("scanner".to_owned(), 6)]);
    }

    #[test]
    fn this_process_has_memory_and_cpu_time() {
        let own = Server { pid: Some(std::process::id()), ..Server::default() };
        assert!(own.resident().is_some_and(|bytes| bytes > 100_000));
        if own.cpu().is_none() {
            eprintln!("SKIPPED: the kernel has no schedstat");
        }
        let none = Server { pid: Some(u32::MAX), ..Server::default() };
        assert_eq!((none.resident(), none.cpu()), (None, None));
        assert!(Server::default().metrics().unwrap().is_none());
    }

    #[test]
    fn a_server_that_refuses_is_told_with_its_status() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = Some(listener.local_addr().unwrap());
        let answers = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in ["HTTP/1.1 200 OK\r\n\r\naorta_up 1\n", "HTTP/1.1 401 No\r\n\r\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 1024];
                let length = stream.read(&mut buffer).unwrap();
                asked.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        let server = Server { admin, token: Some("secret".into()), pid: None };
        assert_eq!(server.metrics().unwrap().unwrap().of("aorta_up"), 1);
        let refused = server.block("127.0.0.9".parse().unwrap()).unwrap_err().to_string();
        assert!(refused.contains("/api/v1/blacklist/127.0.0.9: HTTP status 401"), "{refused}");
        let asked = answers.join().unwrap();
        assert!(asked[0].starts_with("GET /metrics HTTP/1.1\r\n"));
        assert!(asked[1].starts_with("PUT /") && asked[1].contains(": Bearer secret\r\n"));
    }
}
