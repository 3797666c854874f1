package redkite;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Objects;

/** What the parts of the round share. */
final class Steps {
    static final int DIM = 8;
    static final int COUNT = 200;
    static final String BIRDS = "java_birds";
    static final String PLAIN = "java_plain";
    static final String TEXTS = "java_texts";
    static int failed = 0;

    interface Work {
        void run() throws Exception;
    }

    /** One part of the round; one that fails lets the others run. */
    static void step(String name, Work work) {
        try {
            work.run();
        } catch (Exception | AssertionError error) {
            failed++;
            System.err.println("FAILED " + name + ": " + error);
            for (StackTraceElement place : error.getStackTrace()) {
                if (place.getClassName().startsWith("redkite.")) {
                    System.err.println("    at " + place);
                }
            }
        }
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void same(String what, Object found, Object wanted) {
        check(Objects.equals(found, wanted), what + ": " + found + ", not " + wanted);
    }

    static void contains(String what, Collection<?> found, Object wanted) {
        check(found.contains(wanted), what + ": " + found + " has no " + wanted);
    }

    static void refused(String words, Work work) throws Exception {
        try {
            work.run();
        } catch (Exception error) {
            check(String.valueOf(error.getMessage()).contains(words), error.getMessage() + " says nothing of " + words);
            return;
        }
        throw new AssertionError("nothing was refused; expected: " + words);
    }

    static List<Float> vectorOf(int i) {
        List<Float> vector = new ArrayList<>();
        for (int j = 0; j < DIM; j++) {
            vector.add((float) Math.sin(i * 31 + j * 7));
        }
        return vector;
    }
}
