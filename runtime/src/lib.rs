//! placeholder

pub mod cgroup;
pub mod error;
pub mod seccomp;
