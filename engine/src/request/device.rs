// SPDX-License-Identifier: Apache-2.0
//! `--device HOST[:CONTAINER[:rwm]]`.

/// What one asks for. The device itself is looked up where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Its path on the host.
    pub host: &'a str,
    /// Its path in the container.
    pub inside: &'a str,
    /// What the container may do with it: r, w, m.
    pub access: &'a str,
}

/// Reads one by Docker's rules: two parts are a path and what may be done with it, if the second is that.
pub fn read(text: &str) -> Result<Asked<'_>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, access) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, access] if is_access(access) => (*host, *host, *access),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, access] if is_access(access) => (*host, *inside, *access),
        [_, _, access] => return Err(format!("bad mode specified: {access}; expected some of r, w and m, each once")),
        _ => return Err(format!("bad format for path: {text}; expected HOST[:CONTAINER[:rwm]]")),
    };
    match [host, inside].into_iter().find(|path| !path.starts_with('/')) {
        Some("") => Err(format!("bad format for path: {text}; a path is empty")),
        Some(relative) => Err(format!("{relative} is not an absolute path")),
        None => inside_container(inside).map(|()| Asked { host, inside, access }),
    }
}

/// Some of r, w and m, each once.
fn is_access(text: &str) -> bool {
    let once = |c: char| "rwm".contains(c) && text.matches(c).count() == 1;
    !text.is_empty() && text.chars().all(once)
}

fn inside_container(path: &str) -> Result<(), String> {
    super::mount::place(path, &super::mount::Source::Anonymous).map(drop)
}

/// The text of one that can be read.
pub fn parse(text: &str) -> Result<String, String> {
    read(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_as_docker_reads_it() {
        let shown = |text: &'static str| {
            let Asked { host, inside, access } = read(text).unwrap();
            format!("{host} {inside} {access}")
        };
        assert_eq!(shown("/dev/null"), "/dev/null /dev/null rwm");
        assert_eq!(shown("/dev/null:/dev/x"), "/dev/null /dev/x rwm");
        assert_eq!(shown("/dev/null:r"), "/dev/null /dev/null r");
        assert_eq!(shown("/dev/null:/dev/x:rw"), "/dev/null /dev/x rw");
    }

    #[test]
    fn nonsense_is_refused_in_dockers_words() {
        for (text, words) in [
            ("/dev/null:/dev/x:q", "bad mode specified: q"),
            ("/dev/null:/dev/x:rr", "bad mode specified: rr"),
            ("/dev/null:/dev/x:", "bad mode specified: "),
            ("/dev/null:/a:/b:q", "bad format for path"),
            ("/dev/null::r", "bad format for path"),
            ("", "bad format for path"),
            ("/dev/null:x", "x is not an absolute path"),
            ("/dev/null:q", "q is not an absolute path"),
            ("dev/null", "dev/null is not an absolute path"),
            ("/dev/null:/", "nothing can be mounted over"),
            ("/dev/null:/dev/../x", ".."),
        ] {
            assert!(read(text).unwrap_err().contains(words), "{text}: {}", read(text).unwrap_err());
        }
    }
}
