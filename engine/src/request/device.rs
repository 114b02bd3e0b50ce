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

/// Reads one; two parts are a path and what may be done with it, if the second is that.
pub fn read(text: &str) -> Asked<'_> {
    let mut parts = text.splitn(3, ':');
    let host = parts.next().unwrap_or_default();
    let is_access = |part: &str| !part.is_empty() && part.chars().all(|c| "rwm".contains(c));
    let (inside, access) = match (parts.next(), parts.next()) {
        (Some(access), None) if is_access(access) => (None, Some(access)),
        (inside, access) => (inside, access),
    };
    Asked { host, inside: inside.unwrap_or(host), access: access.unwrap_or("rwm") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_as_docker_reads_it() {
        let shown = |text: &'static str| {
            let Asked { host, inside, access } = read(text);
            format!("{host} {inside} {access}")
        };
        assert_eq!(shown("/dev/null"), "/dev/null /dev/null rwm");
        assert_eq!(shown("/dev/null:/dev/x"), "/dev/null /dev/x rwm");
        assert_eq!(shown("/dev/null:r"), "/dev/null /dev/null r");
        assert_eq!(shown("/dev/null:/dev/x:rw"), "/dev/null /dev/x rw");
    }
}
