// SPDX-License-Identifier: Apache-2.0
//! `regex-lite` under the name of `regex`: the same authors' small engine, for a program that uses two patterns.

pub use regex_lite::*;
