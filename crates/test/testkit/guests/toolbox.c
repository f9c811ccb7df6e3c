// Does what its arguments say, step by step, so that tests can ask a guest what it sees.
//
// Arguments are steps separated by single commas; a step is a word and what it works on. The first step that fails ends the
// program with 1.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int fail(const char *step, const char *what) {
    fprintf(stderr, "%s: %s: %s\n", step, what, strerror(errno));
    exit(1);
}

static void pause_for(long milliseconds) {
    struct timespec wait = {milliseconds / 1000, (milliseconds % 1000) * 1000000};
    nanosleep(&wait, NULL);
}

static void cat(const char *path) {
    char buffer[4096];
    int file = open(path, O_RDONLY);
    if (file < 0) fail("cat", path);
    for (ssize_t count; (count = read(file, buffer, sizeof buffer)) > 0;) fwrite(buffer, 1, (size_t)count, stdout);
    close(file);
}

static void ls(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) fail("ls", path);
    for (struct dirent *entry; (entry = readdir(directory));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) puts(entry->d_name);
    closedir(directory);
}

static void write_file(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0) fail("write", path);
    if (write(file, text, strlen(text)) < 0) fail("write", path);
    close(file);
}

static int is_there(const char *path) {
    struct stat found;
    return stat(path, &found) == 0;
}

// Touches so many MiB, so that they are the guest's own.
static void eat(int mebibytes) {
    size_t size = (size_t)mebibytes << 20;
    volatile char *memory = malloc(size);
    if (!memory) exit(1);
    for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
    printf("ate %d MiB\n", mebibytes);
}

static void step(int count, char **words) {
    const char *word = words[0], *one = count > 1 ? words[1] : "", *two = count > 2 ? words[2] : "";
    if (!strcmp(word, "env"))
        for (char **it = environ; *it; it++) puts(*it);
    else if (!strcmp(word, "args"))
        for (int at = 1; at < count; at++) puts(words[at]);
    else if (!strcmp(word, "print"))
        puts(one);
    else if (!strcmp(word, "say"))
        fputs(one, stdout);
    else if (!strcmp(word, "cat"))
        cat(one);
    else if (!strcmp(word, "ls"))
        ls(one);
    else if (!strcmp(word, "write"))
        write_file(one, two);
    else if (!strcmp(word, "rm")) {
        if (unlink(one) < 0) fail("rm", one);
    } else if (!strcmp(word, "until"))
        while (!is_there(one)) pause_for(20);
    else if (!strcmp(word, "sleep"))
        pause_for(atol(one));
    else if (!strcmp(word, "forever"))
        for (;;) pause_for(3600000);
    else if (!strcmp(word, "eat"))
        eat(atoi(one));
    else if (!strcmp(word, "exit")) {
        fflush(stdout);
        exit(atoi(one));
    } else {
        fprintf(stderr, "no such step: %s\n", word);
        exit(2);
    }
    fflush(stdout);
}

int main(int count, char **words) {
    for (int from = 1, to; from < count; from = to + 1) {
        for (to = from; to < count && strcmp(words[to], ",");) to++;
        if (to > from) step(to - from, words + from);
    }
    return 0;
}
