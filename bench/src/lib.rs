//! Benches of sidecore; they stand in `benches/`, one file a question.
