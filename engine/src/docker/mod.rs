// SPDX-License-Identifier: Apache-2.0
//! Docker's JSON objects as types: `inspect`, templates and an API show the same fields, named in one place.
//!
//! Docker Engine API v1.48 (Docker 28). A field that cannot be set here has the value that Docker shows where nobody set it.

pub mod container;
