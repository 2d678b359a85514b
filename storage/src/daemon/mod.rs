//! The background daemons of a device.
