"""From the sources of the lessons to what people see: notebooks, slides, the website, the students' copy."""
