import { commands } from 'podwire:tools'
import { version } from 'podwire:version'
import { Command, CommanderError } from 'commander'

// The program `podwire`: for people, beside the plugins, which runtimes start. An ordinary program with an event loop
// and libraries. Its commands are the files of tools/.

/** Exit statuses: done or fine; found something; wrong use, or it cannot look. */
const [fine, wrong] = [0, 2]

/**
 * Runs one command line, without the program's name.
 * @returns the exit status
 */
export async function podwire(words: readonly string[], output: Output = standard): Promise<number> {
  const program = new Command('podwire')
    .description('Look at and look after what the CNI plugins of podwire do on this host.')
    .version(version, '-V, --version', 'print the version of the suite')
    .helpCommand('help [command]', 'print what a command does and takes')
  for (const make of commands) program.addCommand(make())
  for (const command of [program, ...program.commands])
    command.exitOverride().configureOutput(output).showHelpAfterError('(podwire help lists the commands)')
  try {
    await program.parseAsync(words.length === 0 ? ['help'] : words, { from: 'user' })
    return fine
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown
    return thrown.exitCode === 0 ? fine : wrong
  }
}

/** Where a command writes. */
export interface Output {
  readonly writeOut: (text: string) => void
  readonly writeErr: (text: string) => void
}

// --- internal

const standard: Output = {
  writeOut: (text) => void process.stdout.write(text),
  writeErr: (text) => void process.stderr.write(text),
}
