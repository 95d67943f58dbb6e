/* Calls one function of a kernel with arguments and memory from a file, and leaves its results there. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { MOST = 16 };

/* Numbers in floating point have registers of their own, and what is passed beyond its arguments is not read. */
void FUNCTION(float, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long, long);

/* The file starts with the integer arguments and the one float, and is written for addresses from BASE on. */
typedef struct {
    long whole[MOST];
    double real;
} arguments;

int main(int count, char **names) {
    struct stat about;
    int file = open(names[count - 1], O_RDWR);
    if (file < 0 || fstat(file, &about)) return perror(names[count - 1]), 1;
    const arguments *given =
        mmap((void *)BASE, about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    if (given == MAP_FAILED) return perror("mmap"), 1;
    const long *a = given->whole;
    FUNCTION(given->real, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13],
             a[14], a[15]);
    return 0;
}
