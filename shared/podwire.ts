import { commands } from 'podwire:tools'
import { version } from 'podwire:version'
import { Command, CommanderError } from 'commander'
import { Ended, fine, makeCommand, type Status, wrong } from '../tools/frame/command.js'
import { Console, type Output, standardOutput } from '../tools/frame/console.js'

// The program `podwire`: for people, beside the plugins, which runtimes start. An ordinary program with an event loop
// and libraries. Its commands are the files of tools/, and what they have in common is tools/frame.

export type { Output } from '../tools/frame/console.js'

/**
 * Runs one command line, without the program's name.
 * @returns the exit status
 */
export async function podwire(words: readonly string[], output: Output = standardOutput()): Promise<Status> {
  const program = makeProgram()
  for (const command of [program, ...program.commands])
    command.exitOverride().configureOutput(output).showHelpAfterError('(podwire help lists the commands)')
  try {
    await program.parseAsync(words.length === 0 ? ['help'] : words, { from: 'user' })
    return fine
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? fine : wrong
    if (!(thrown instanceof Ended)) throw thrown
    if (thrown.message !== '') new Console(output).warn(thrown.message)
    return thrown.status
  }
}

/** The program as commander knows it: help, man pages and completion are made of it. */
export function makeProgram(): Command {
  const program = new Command('podwire')
    .description('Look at and look after what CNI plugins do on this host.')
    .version(version, '-V, --version', 'print the version of the suite')
    .helpCommand('help [command]', 'print what a command does and takes')
  for (const definition of commands) {
    program.addCommand(makeCommand(definition), { hidden: definition.isHidden ?? false })
  }
  return program
}
