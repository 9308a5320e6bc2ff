# SPDX-License-Identifier: MIT
# The programs that the README shows are the ones that are built and run, to the letter, and so is what they print.
file(READ ${ROOT}/README.md readme)
foreach(file tutorial.c blog.c blog.expected)
	file(READ ${ROOT}/examples/${file} program)
	string(FIND "${readme}" "${program}" place)
	if(place EQUAL -1)
		message(FATAL_ERROR "README.md does not show examples/${file} as it is")
	endif()
endforeach()
