// Counts lines, words and bytes of the files it is given, as `wc` does: a preview-1 command, run as a Job.
//
// Exits 1 when a file could not be read, after counting the others.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct count {
    long lines, words, bytes;
};

static struct count count_stream(FILE *file) {
    struct count count = {0, 0, 0};
    int was_space = 1;
    for (int c; (c = getc(file)) != EOF;) {
        count.bytes++;
        count.lines += c == '\n';
        count.words += was_space && !isspace(c);
        was_space = isspace(c) != 0;
    }
    return count;
}

static void print_count(struct count count, const char *name) {
    printf("%ld %ld %ld %s\n", count.lines, count.words, count.bytes, name);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_count(count_stream(stdin), "-");
        return 0;
    }
    struct count total = {0, 0, 0};
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) {
            fprintf(stderr, "wordcount: %s: %s\n", argv[i], strerror(errno));
            failed = 1;
            continue;
        }
        struct count count = count_stream(file);
        fclose(file);
        print_count(count, argv[i]);
        total.lines += count.lines;
        total.words += count.words;
        total.bytes += count.bytes;
    }
    if (argc > 2) print_count(total, "total");
    return failed;
}
