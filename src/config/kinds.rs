//! How the rows of [`parameters`](super::parameters) are written: what a parameter takes, in a few
//! words, becomes the [`Kind`](super::parameter::Kind) that reads and writes its field.

/// How a parameter reaches its field.
macro_rules! kind {
    (switch $($field:ident).+) => {
        Kind::Switch { write: |s, v| s.$($field).+ = v, read: |s| s.$($field).+ }
    };
    (whole $min:literal - $max:literal $($field:ident).+) => {
        Kind::Whole {
            min: $min,
            max: $max,
            none: None,
            write: |s, v| s.$($field).+ = narrow(v.expect("it has no word for none")),
            read: |s| Some(s.$($field).+.into()),
        }
    };
    (optional $none:literal $min:literal - $max:literal $($field:ident).+) => {
        Kind::Whole {
            min: $min,
            max: $max,
            none: Some($none),
            write: |s, v| s.$($field).+ = v.map(narrow),
            read: |s| s.$($field).+.map(Into::into),
        }
    };
    (word $words:ident $($field:ident).+) => {
        Kind::Text {
            range: $words::EXPECTED,
            write: |s, text| {
                let value = $words::from_word(text);
                s.$($field).+ = value.ok_or_else(|| value::word($words::EXPECTED))?;
                Ok(())
            },
            read: |s| s.$($field).+.to_string(),
        }
    };
    (path $($field:ident).+) => {
        Kind::Text {
            range: "a path, or empty",
            write: |s, text| {
                s.$($field).+ = value::path(text);
                Ok(())
            },
            read: |s| s.$($field).+.as_ref().map_or_else(String::new, |p| p.display().to_string()),
        }
    };
    (reactors) => {
        Kind::Text {
            range: "auto, 1-128",
            write: |s, text| {
                s.serve.reactors = value::reactors(text)?;
                Ok(())
            },
            read: |s| s.serve.reactors.map_or_else(|| "auto".to_owned(), |n| n.to_string()),
        }
    };
    (admin) => {
        Kind::Text {
            range: "ADDRESS:PORT, or empty",
            write: |s, text| {
                s.serve.admin = value::admin(text)?;
                Ok(())
            },
            read: |s| s.serve.admin.map_or_else(String::new, |address| address.to_string()),
        }
    };
    (cpus) => {
        Kind::List {
            range: "all, or CPU numbers such as 0-3,8",
            write: |s, items| {
                s.serve.cpus = value::cpus(items)?;
                Ok(())
            },
            read: |s| s.serve.cpus.as_ref().map_or_else(|| "all".to_owned(), |list| joined(list)),
        }
    };
    (algorithms) => {
        Kind::List {
            range: "SHA-256, MD5",
            write: |s, items| {
                s.auth.algorithms = value::algorithms(items)?;
                Ok(())
            },
            read: |s| s.auth.algorithms.to_string(),
        }
    };
    (nat_tests) => {
        Kind::List {
            range: "0-6 of contact, private_contact, contact_port, via, via_port and rport",
            write: |s, items| {
                s.nat.tests = value::nat_tests(items)?;
                Ok(())
            },
            read: |s| s.nat.tests.to_string(),
        }
    };
    (keepalive_message) => {
        Kind::Text {
            range: "text of 1-256 bytes, CRLF, STUN, OPTIONS, or empty",
            write: |s, text| {
                s.nat.message = value::keepalive_message(text)?;
                Ok(())
            },
            read: |s| s.nat.message.to_string(),
        }
    };
    (webhook) => {
        Kind::Text {
            range: "https://HOST[:PORT][/PATH], http:// likewise, or empty",
            write: |s, text| {
                s.analysis.alerts.webhook = value::webhook(text)?;
                Ok(())
            },
            read: |s| {
                s.analysis.alerts.webhook.as_ref().map_or_else(String::new, ToString::to_string)
            },
        }
    };
    (databases) => {
        Kind::List {
            range: "0-8 paths",
            write: |s, items| {
                s.analysis.databases = value::databases(items)?;
                Ok(())
            },
            read: |s| {
                let paths = s.analysis.databases.iter().map(|path| path.display().to_string());
                joined(&paths.collect::<Vec<_>>())
            },
        }
    };
    (list $range:literal $parse:path, $($field:ident).+) => {
        Kind::List {
            range: $range,
            write: |s, items| {
                s.$($field).+ = $parse(items)?;
                Ok(())
            },
            read: |s| joined(&s.$($field).+),
        }
    };
}

pub(super) use kind;
