//! Placement, pure.
