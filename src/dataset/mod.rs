//! LeRobot data sets, format v3.0, on disk.
