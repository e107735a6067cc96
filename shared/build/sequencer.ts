import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Starts the virtual machine's file first: it takes longest, and the native tests run meanwhile. */
export class MachineFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isMachine = ({ moduleId }: TestSpecification) => moduleId.endsWith('conformance/vm/guest.test.ts')
    return [...sorted.filter(isMachine), ...sorted.filter((file) => !isMachine(file))]
  }
}
