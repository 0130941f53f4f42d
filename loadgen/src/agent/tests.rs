use super::*; 
