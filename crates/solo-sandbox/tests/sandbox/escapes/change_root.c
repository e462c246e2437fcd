/* Has another directory as its root. */
#include "escape.h"
int main(void) { judge("chroot", chroot("/tmp")); }
